"""Limit how many searches are reranked at the same time, and how many bytes their windows have together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from connector.proxy.window import Unusable


@dataclass(slots=True)
class Room:
    """The free places and bytes. If none is free, a search is passed on."""

    max_running: int
    max_bytes: int
    running: int = 0
    bytes: int = 0

    def check(self) -> None:
        """Raise if no place is free.

        Raises:
            Unusable: every place is taken.
        """
        if self.running >= self.max_running:
            raise Unusable("too many searches at once", mark="degraded")

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Occupy a place until the block ends.

        Raises:
            Unusable: every place is taken.
        """
        self.check()
        place = Place(self)
        self.running += 1
        try:
            yield place
        finally:
            self.running -= 1
            self.bytes -= place.bytes


@dataclass(slots=True)
class Place:
    """The place of one search."""

    room: Room
    bytes: int = 0

    def grow(self, size: int) -> None:
        """Reserve bytes for more of the window.

        Raises:
            Unusable: not enough bytes are free.
        """
        if self.room.bytes + size > self.room.max_bytes:
            raise Unusable("too many bytes of windows at once", mark="degraded")
        self.room.bytes += size
        self.bytes += size
