"""Decide who may use the page's server, and who may search an own index.

A user can name their own index. The server then calls a URL that a stranger may have chosen. On a shared host this URL could
reach services that only the server should reach (server-side request forgery). So it is allowed in two cases only: the operator
started the server with ``--allow-own-index``, or the user works on this machine and could call that URL anyway.

"Works on this machine" means three things: the server listens on a loopback address; the connection comes from a loopback
address; the request has a loopback name and passed through no proxy. The name matters because a hostile page can let its own name
resolve to 127.0.0.1 (DNS rebinding).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from slimrank.serving.gateway.browsers import host_name, is_loopback

_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
NOT_ALLOWED = (
    "This is allowed only on the machine that runs the playground, because its server would call any URL that a visitor names."
    " Start the playground with --allow-own-index to allow it for everyone who can reach the server."
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides which requests are answered, and who may name an index.

    Args:
        listens_on: The address that the server listens on.
        own_index_for_all: Whether the operator allows everyone to name an index.
    """

    listens_on: str
    own_index_for_all: bool = False

    def is_our_name(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request names this server: on a loopback address, only loopback names are valid.

        Otherwise any site could let its name resolve to this server, and read the index through a visitor's browser.
        """
        return not is_loopback(self.listens_on) or is_loopback(host_name(headers.get("host", "")))

    def may_name_index(self, *, client: str | None, headers: Mapping[str, str]) -> bool:
        """Tell whether this caller may name an index."""
        if self.own_index_for_all:
            return True
        direct = not any(name in headers for name in _PROXY_HEADERS)
        return (
            direct
            and is_loopback(self.listens_on)
            and client is not None
            and is_loopback(client)
            and is_loopback(host_name(headers.get("host", "")))
        )
