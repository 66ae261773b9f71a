"""Limit the size of HTTP answers. The size is counted after unpacking: a few kilobytes of gzip can unpack to gigabytes.

    httpx.Client(headers=PLAIN_OR_GZIP, event_hooks=bounded(64 * 2**20))

The hook unpacks the answer instead of httpx, which has no limit. An answer that is too long, or that has an encoding that was not
asked for, raises ``httpx.DecodingError``.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

PLAIN_OR_GZIP = {"accept-encoding": "gzip"}
MAX_ANSWER_BYTES = 64 * 2**20
_STEP_BYTES = 2**20


def bounded(max_bytes: int = MAX_ANSWER_BYTES) -> dict[str, list[Callable[..., Any]]]:
    """Return event hooks for an ``httpx.Client``."""

    def bind(response: httpx.Response) -> None:
        response.stream = _Bounded(response, max_bytes)

    return {"response": [bind]}


def bounded_async(max_bytes: int = MAX_ANSWER_BYTES) -> dict[str, list[Callable[..., Any]]]:
    """Return event hooks for an ``httpx.AsyncClient``."""

    async def bind(response: httpx.Response) -> None:
        response.stream = _Bounded(response, max_bytes)

    return {"response": [bind]}


class _Bounded(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The unpacked body of an answer; counts its bytes."""

    def __init__(self, response: httpx.Response, max_bytes: int) -> None:
        self._stream: Any = response.stream
        self._request, self._most, self._left = response.request, max_bytes, max_bytes
        encoding = response.headers.pop("content-encoding", "").strip().lower()
        self._unzip = zlib.decompressobj(wbits=31) if encoding in ("gzip", "x-gzip") else None
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise self._error(f"the answer is packed as {encoding[:40]!r}; only plain and gzip answers were asked for")

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            yield from self._plain(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            for plain in self._plain(piece):
                yield plain

    def _plain(self, piece: bytes) -> Iterator[bytes]:
        if self._unzip is None:
            yield self._counted(piece)
            return
        plain = b""
        while piece or len(plain) == _STEP_BYTES:
            try:
                plain = self._unzip.decompress(piece, _STEP_BYTES)
            except zlib.error as error:
                raise self._error("the answer is marked as gzip, but cannot be unpacked") from error
            piece = self._unzip.unconsumed_tail
            yield self._counted(plain)

    def _counted(self, plain: bytes) -> bytes:
        self._left -= len(plain)
        if self._left < 0:
            raise self._error(f"the answer is longer than the limit of {self._most} bytes")
        return plain

    def _error(self, words: str) -> httpx.DecodingError:
        return httpx.DecodingError(words, request=self._request)

    def close(self) -> None:
        """Close the connection's side."""
        self._stream.close()

    async def aclose(self) -> None:
        """Close the connection's side."""
        await self._stream.aclose()
