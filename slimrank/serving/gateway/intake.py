"""Read bodies: each body and all bodies together are counted as they arrive, and unpacked within the same limits.

A body costs several times its bytes while it is parsed and sent on, so all that are in hand share one budget. Where it is
spent, the largest body that is still arriving is refused: a caller with a small request never pays for another's large one,
and large ones leave a quarter of the budget to the small.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from slimrank.errors import ConfigError, InvalidRequest, Overloaded

BODY_SECONDS = 10.0
SMALL_BYTES = 2**20
LARGE_SHARE = 0.75
_STEP_BYTES = 2**18
"""The bytes that are unpacked before other requests have their turn."""


@dataclass(eq=False, slots=True)
class Held:
    """One request's share of the budget."""

    bytes: int = 0
    is_refused: bool = False
    deadline: asyncio.Timeout | None = None
    """Set while the body arrives."""


@dataclass(eq=False, slots=True)
class Intake:
    """Reads bodies within a budget.

    Args:
        max_body_bytes: of one body, unpacked.
        max_bytes: of all bodies in hand, from their first byte to their answer.

    Raises:
        ConfigError: the budget has no room for the largest body that is allowed.
    """

    max_body_bytes: int
    max_bytes: int
    used: int = 0
    _arriving: set[Held] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Check the limits."""
        if self.max_body_bytes > LARGE_SHARE * self.max_bytes:
            raise ConfigError(
                f"a body may have {self.max_body_bytes} bytes, and all together {self.max_bytes}, which is too little for it; set"
                f" SLIMRANK_MAX_BODIES_BYTES to {int(self.max_body_bytes / LARGE_SHARE) + 1} or more, and allow six times as much memory"
            )

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Give a request its share, which it has until the block ends."""
        held = Held()
        try:
            yield held
        finally:
            self._let_go(held)

    async def read(self, request: Request, held: Held) -> bytes:
        """Return the body; refuse one that is too large before it is held, let alone parsed.

        Raises:
            InvalidRequest: it is too large (413), too slow (408), packed in another way than gzip (415), or broken (400).
            Overloaded: too much is in hand.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isdigit():
            self._check(int(declared))
        pieces = []
        self._arriving.add(held)
        try:
            async with asyncio.timeout(BODY_SECONDS) as held.deadline:
                async for piece in _plain(request):
                    self._grow(held, len(piece))
                    pieces.append(piece)
        except TimeoutError as error:
            if held.is_refused:
                raise _too_much() from error
            raise InvalidRequest(f"the body did not arrive within {BODY_SECONDS:g} s; send it at once", status=408) from error
        finally:
            self._arriving.discard(held)
            held.deadline = None
        return b"".join(pieces)

    def _check(self, size: int) -> None:
        if size > self.max_body_bytes:
            raise InvalidRequest(
                f"the body has {size} bytes or more, and {self.max_body_bytes} are allowed; send fewer or shorter documents",
                status=413,
            )

    def _grow(self, held: Held, size: int) -> None:
        self._check(held.bytes + size)
        held.bytes += size
        self.used += size
        while self.used > (self.max_bytes if held.bytes <= SMALL_BYTES else LARGE_SHARE * self.max_bytes):
            largest = max(self._arriving, key=lambda each: each.bytes)
            if largest is held:
                raise _too_much()
            largest.is_refused = True
            self._let_go(largest)
            if largest.deadline is not None:
                largest.deadline.reschedule(0)  # now: whoever waits for its next piece stops waiting

    def _let_go(self, held: Held) -> None:
        self._arriving.discard(held)
        self.used -= held.bytes
        held.bytes = 0


def _too_much() -> Overloaded:
    return Overloaded(
        "too many bytes of requests are in hand; send the request again, or fewer documents", retry_after_seconds=1.0
    )


async def _plain(request: Request) -> AsyncIterator[bytes]:
    """Yield the body, unpacked."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        async for piece in request.stream():
            yield piece
        return
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidRequest(f"the body is packed as {encoding[:40]!r}; send it plain, or as gzip", status=415)
    unzip = zlib.decompressobj(wbits=31)
    try:
        async for piece in request.stream():
            for plain in _unzipped(unzip, piece):
                yield plain
                await asyncio.sleep(0)
    except zlib.error as error:
        raise _broken() from error
    if not unzip.eof or unzip.unused_data:
        raise _broken()


def _unzipped(unzip: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    plain = b"more"
    while packed or len(plain) == _STEP_BYTES:
        if unzip.eof:
            raise _broken()
        plain = unzip.decompress(packed, _STEP_BYTES)
        packed = unzip.unconsumed_tail
        if plain:
            yield plain


def _broken() -> InvalidRequest:
    return InvalidRequest("the body is said to be gzip, and cannot be unpacked; send it whole, or plain")
