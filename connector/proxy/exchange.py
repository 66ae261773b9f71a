"""One request and its answer as the bytes of ASGI; nothing is decoded.

Header names and values are passed on unchanged and in order. Only hop-by-hop headers are left out, because they describe one
connection and not the message (RFC 9110, section 7.6.1).
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
"""The longest time between two pieces of a body that is passed on; the whole body may take longer."""
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


# These headers describe the message, even if `Connection` names them.
_KEPT = frozenset({b"content-length", b"content-type", b"content-encoding", b"authorization", b"host"})


class ClientGone(Exception):
    """The caller hung up before its request was read."""


class SlowBody(Exception):
    """The body of the request did not arrive in time."""


def header(headers: Headers, name: bytes) -> bytes:
    """Return the value of a header, or b""; ``name`` must be in lower case."""
    return next((value for key, value in headers if key.lower() == name), b"")


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *, without: Iterable[bytes] = ()) -> Headers:
    """Return the headers of the message, without those of the connection."""
    own = list(headers)
    named = {name.strip().lower() for key, value in own if key.lower() == b"connection" for name in value.split(b",")}
    gone = _HOP_BY_HOP | (named - _KEPT) | set(without)
    return [(key, value) for key, value in own if key.lower() not in gone]


def mark(outcome: str, reason: str) -> tuple[bytes, bytes]:
    """Return the header that says what happened to a search."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in reason)[:200]
    return MARK, f"{outcome}; reason={plain}".encode()


class Exchange:
    """A request, which is read at most once, and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self.body: bytes | None = None
        """The whole body, after it was read."""
        self.has_body = any(key in (b"content-length", b"transfer-encoding") for key, _ in self.headers)
        self.has_started = False
        self.outcome, self.reason = "", ""
        self._receive, self._send = receive, send
        self._held: list[bytes] = []
        self._read = asyncio.Event()

    @property
    def target(self) -> bytes:
        """Path and query, unchanged."""
        return self.path + (b"?" + self.query_string if self.query_string else b"")

    async def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None if it is longer than ``limit``; then ``stream`` still yields all of it.

        Raises:
            SlowBody: the body does not arrive in time.
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
        """Yield the body, beginning with the part that was already read."""
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
        """Return when the caller hangs up; before that, wait until other code has read the body."""
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
        """Answer an error of the proxy, in the format of an engine's error."""
        cause = {"type": "slimrank_proxy_exception", "reason": reason}
        body = json.dumps({"error": {"root_cause": [cause], **cause}, "status": status}).encode()
        self.outcome, self.reason = "failed", mark_reason
        headers = [(b"content-type", b"application/json"), mark("passed", mark_reason)]
        if status == 408:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self.answer(status, headers, body)
