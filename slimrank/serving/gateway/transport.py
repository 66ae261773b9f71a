"""A transport as a service in the middle of a search needs it.

Answers leave in one TCP segment: uvicorn writes the header and the body one after the other, which makes two segments, and a peer
that delays its acknowledgements can turn that into tens of milliseconds a search. Here what is
written in one turn of the event loop is sent in one call. (TCP_NODELAY is set by asyncio itself.)
"""

import asyncio
from typing import Any


class GatheringTransport:
    """A transport that gathers writes until the loop's next turn; all else goes to the real one."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the real transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send this in the loop's next turn."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Send what was gathered and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))
