"""HTTP/1.1 as all our servers speak it: gateway, proxy and playground, each with ``options()``.

What uvicorn leaves open is closed here. A head has a size, a number of headers and seconds to arrive in, and so has a TLS
handshake. Headers that come behind a body are not headers. An upgrade to another protocol, which Java's client
offers with every first request, is not taken up, and the body that comes with the offer is read. Connections
that wait for a request are at most so many; above that, the one that has waited longest is closed.
"""

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

import httptools
from uvicorn.loops.auto import auto_loop_factory
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from slimrank.serving.gateway.transport import GatheringTransport

HEAD_SECONDS = 10.0
STALLED_SECONDS = 30.0
"""An answer may take long to be read, but not without a byte of progress."""
MAX_HEAD_BYTES = 2**15
MAX_HEADERS = 100
MAX_PIPELINED = 32
MAX_WAITING = 1000
MAX_OPEN_FILES = 2**14
_OF_UPGRADES = (b"upgrade", b"http2-settings")
_TOO_LARGE = f"A request's head may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers."

_waiting: WeakKeyDictionary[ServerState, "OrderedDict[BoundedProtocol, None]"] = WeakKeyDictionary()
"""By server: connections without a request in hand, the one that has waited longest first."""


def options() -> dict[str, Any]:
    """Return how every server of ours is configured, as arguments of ``uvicorn.Config``."""
    return {
        "http": BoundedProtocol,
        "loop": f"{__name__}:make_loop",
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
    }


def make_loop() -> asyncio.AbstractEventLoop:
    """Return uvicorn's event loop, with a limit on TLS handshakes: uvicorn leaves them asyncio's minute."""
    _allow_open_files()
    loop: asyncio.AbstractEventLoop = auto_loop_factory()()
    create_server: Callable[..., Any] = loop.create_server

    def with_limit(*args: Any, **kwargs: Any) -> Any:
        limit = {"ssl_handshake_timeout": HEAD_SECONDS} if kwargs.get("ssl") else {}
        return create_server(*args, **kwargs, **limit)

    loop.create_server = with_limit  # type: ignore[method-assign]
    return loop


def _allow_open_files() -> None:
    """Let this process have as many connections as it may, and not the few that shells allow at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _HeadTooLarge(Exception):
    pass


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol within limits, over a transport that sends an answer in one piece."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _unread_bytes = 0
    """Bytes that came and were no body: of a head, a chunk's length or a trailer that is not whole."""
    _in_head = True
    _is_receiving = False
    _stalled: asyncio.TimerHandle | None = None
    _version = b"1.1"

    # -- connections ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take over a new connection."""
        super().connection_made(GatheringTransport(transport, self.loop))  # type: ignore[arg-type]
        self._start_timer()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._stop_timer()
        self._wait_no_more()
        super().connection_lost(exc)  # which resumes writing

    def _wait(self) -> None:
        waiting = _waiting.setdefault(self.server_state, OrderedDict())
        waiting[self] = None
        if len(waiting) > MAX_WAITING:
            waiting.popitem(last=False)[0]._give_up()

    def _wait_no_more(self) -> None:
        _waiting.get(self.server_state, OrderedDict()).pop(self, None)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """Begin to watch whether the peer reads its answer."""
        super().pause_writing()
        self._watch(None)

    def resume_writing(self) -> None:
        """Stop watching: the peer has read."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _watch(self, left: int | None) -> None:
        """Cut the peer off where as much of its answer is left as before."""
        now_left = self.transport.get_write_buffer_size()
        if left is not None and now_left >= left:
            self.transport.abort()
        else:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self._watch, now_left)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read what came; a request that offers an upgrade is read again without the offer."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
            self._start_timer()
        self._unread_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._unread_bytes > MAX_HEAD_BYTES:
                self._refuse(431, _TOO_LARGE)
        except httptools.HttpParserUpgrade as offer:
            self._read_again(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            is_large = isinstance(error.__context__, _HeadTooLarge)
            self._refuse(*((431, _TOO_LARGE) if is_large else (400, "This is not HTTP/1.1.")))

    def _read_again(self, rest: bytes) -> None:
        """Begin the message anew: its head was read, found well-formed, and stands here without the offer."""
        own = [(name, _without_upgrade(value) if name == b"connection" else value) for name, value in self.headers]
        lines = [b"%s: %s\r\n" % (name, value) for name, value in own if name not in _OF_UPGRADES]
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, self._version, b"".join(lines))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self._unread_bytes = 0
        self.data_received(head)
        if rest and not self.transport.is_closing():
            self.data_received(rest)

    def _refuse(self, status: int, reason: str) -> None:
        """Say what is wrong, unless another request is being answered, and close the connection."""
        if self.cycle is None or self.cycle.response_complete:
            head = f"{status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}"
            self.transport.write(f"HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{reason}".encode())
        self.transport.close()

    # -- the parser's events -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start the clock of a request's head."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _HeadTooLarge
        super().on_message_begin()
        self._head_bytes, self._in_head, self._is_receiving = 0, True, True
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        """Read a part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; one that comes behind the body is none."""
        self._count(len(name) + len(value) + len(": \r\n"))
        if self._in_head:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        """Stop the clock and hand the request on, unless it is to be read again."""
        self._in_head, self._unread_bytes = False, 0
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._version = self.parser.get_http_version().encode()
            return
        self._stop_timer()
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is here whole."""
        self._unread_bytes = 0
        if not self.parser.should_upgrade():
            self._is_receiving = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, and no longer for the rest of this one than for a head."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            if self._is_receiving:
                self._start_timer()
            self._wait()


def _without_upgrade(connection: bytes) -> bytes:
    tokens = [token.strip() for token in connection.split(b",")]
    return b", ".join(token for token in tokens if token.lower() not in _OF_UPGRADES)
