"""Refuse what a browser may not reach: a page of another site can make its visitor's browser send requests to this machine.

Browsers name that page in ``Origin`` and ``Sec-Fetch-Site``, ask before they send JSON, and send the name of the page's own
site as ``Host``, even where that name was made to lead here (DNS rebinding).
"""

import ipaddress
from collections.abc import Mapping

_LOOPBACK_ONLY = (
    "this gateway asks for no key and listens on a loopback address, so it answers to localhost only; give it keys, or --host"
)
_OTHER_SITE = "another site's page may not ask a gateway without keys"
_NOT_JSON = "send the header `content-type: application/json`: a gateway without keys takes nothing that any page may send"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Return the host of a ``Host`` header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes from our own page, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def objection(method: str, headers: Mapping[str, str], *, listens_on: str) -> tuple[int, str] | None:
    """Return status and reason to refuse a request to a gateway without keys, or None where no page can have sent it."""
    if not is_same_origin(headers):
        return 403, _OTHER_SITE
    if not is_loopback(listens_on):
        return None
    if "host" in headers and not is_loopback(host_name(headers["host"])):
        return 421, _LOOPBACK_ONLY
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if method == "POST" and not (kind == "application/json" or kind.endswith("+json")):
        return 415, _NOT_JSON
    return None
