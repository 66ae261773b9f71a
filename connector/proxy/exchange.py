"""One request and its answer, as bytes: what ASGI gives and takes, with nothing decoded on the way.

Header names and values are handed on as they came, in their order. Only hop-by-hop headers, which speak of one
connection and not of the message (RFC 9110, section 7.6.1), are left out.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MARK = b"x-slimrank"
BODY_SECONDS = 10.0
PIECE_SECONDS = 30.0
"""A body that is passed on may take long, but not between two pieces."""
SCORED = b"x-slimrank-scored"
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
    }
)


# What a message is read by belongs to it, whatever `Connection` names.
_KEPT = frozenset({b"content-length", b"content-type", b"content-encoding", b"authorization", b"host"})


class ClientGone(Exception):
    """The caller hung up before its request was read."""


class SlowBody(Exception):
    """The body of the request does not arrive."""


def header(headers: Headers, name: bytes) -> bytes:
    """Return the value of a header, or b""; `name` in lower case."""
    return next((value for key, value in headers if key.lower() == name), b"")


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *, without: Iterable[bytes] = ()) -> Headers:
    """Return the headers that belong to the message and not to the connection."""
    own = list(headers)
    named = {name.strip().lower() for key, value in own if key.lower() == b"connection" for name in value.split(b",")}
    gone = _HOP_BY_HOP | (named - _KEPT) | set(without)
    return [(key, value) for key, value in own if key.lower() not in gone]


def mark(outcome: str, reason: str) -> tuple[bytes, bytes]:
    """Return the header that says what was done with a search."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in reason)[:200]
    return MARK, f"{outcome}; reason={plain}".encode()


class Exchange:
    """A request, read at most once, and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self.body: bytes | None = None
        """The whole body, once it was read whole."""
        self.has_body = any(key in (b"content-length", b"transfer-encoding") for key, _ in self.headers)
        self.has_started = False
        self.outcome, self.reason = "", ""
        self._receive, self._send = receive, send
        self._held: list[bytes] = []
        self._read = asyncio.Event()

    @property
    def target(self) -> bytes:
        """Path and query as they came."""
        return self.path + (b"?" + self.query_string if self.query_string else b"")

    async def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None where it is longer than `limit`; then `stream` still yields all of it.

        Raises:
            SlowBody: it does not arrive in time.
        """
        size, late = 0, asyncio.get_running_loop().time() + BODY_SECONDS
        while not self._read.is_set():
            self._held.append(await self._next(late))
            size += len(self._held[-1])
            if size > limit:
                return None
        self.body = b"".join(self._held)
        return self.body

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body, what was read of it first."""
        while self._held:
            yield self._held.pop(0)
        while not self._read.is_set():
            yield await self._next(asyncio.get_running_loop().time() + PIECE_SECONDS)

    async def _next(self, late: float) -> bytes:
        try:
            async with asyncio.timeout_at(late):
                message = await self._receive()
        except TimeoutError as error:
            raise SlowBody from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not message.get("more_body", False):
            self._read.set()
        return bytes(message.get("body", b""))

    async def gone(self) -> None:
        """Return when the caller hangs up; its body is read by others, and first."""
        if self.has_body:
            await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        self.has_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.write(body, more=False)

    async def refuse(self, status: int, reason: str, mark_reason: str) -> None:
        """Answer an error of the proxy's own, in the shape of an engine's."""
        cause = {"type": "slimrank_proxy_exception", "reason": reason}
        body = json.dumps({"error": {"root_cause": [cause], **cause}, "status": status}).encode()
        self.outcome, self.reason = "failed", mark_reason
        headers = [(b"content-type", b"application/json"), mark("passed", mark_reason)]
        if status == 408:
            headers.append((b"connection", b"close"))  # what may still come is not read
        await self.answer(status, headers, body)
