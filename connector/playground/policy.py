"""Who may use the page's server, and for what.

The page can be pointed at an index of the user's own. The server then calls a URL that a stranger
may have chosen: on a shared host that reaches what only the server should reach (server-side
request forgery). So it is allowed in two cases only: the operator started the server with
``--allow-own-index``, or the user sits at this very machine and could call that URL anyway.

"At this machine" means all three: the server listens on a loopback address, the connection comes
from one, and it was addressed by a loopback name and passed through no proxy. The name matters
since a hostile page can resolve its own name to 127.0.0.1 (DNS rebinding).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from slimrank.serving.browsers import host_name, is_loopback

_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
NOT_ALLOWED = (
    "Only from the machine that runs the playground: its server would call any URL a visitor names."
    " Start it with --allow-own-index to allow it for everyone who can reach it."
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides who is answered, and who may name an index.

    Args:
        listens_on: The address that the server is bound to.
        own_index_for_all: The operator's flag.
    """

    listens_on: str
    own_index_for_all: bool = False

    def is_our_name(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request was addressed to us: on a loopback address only loopback names are ours.

        Otherwise any site could point its name here and read the index through its visitor's browser.
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
