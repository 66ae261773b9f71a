"""What was said of a window of hits, kept for a while, so that all pages of one search are cut from the same order.

Each page of a search is a request of its own, which fetches the same hits again. Scored again under a deadline, another
number of them would have scores, and paging would show hits twice and others never. So what the first page was answered
by counts for the pages behind it, also where a deadline cut it short. A window is known by its query, its documents and
how they are judged: where the index has changed in between, it is another one.
"""

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

from slimrank.errors import ScoringError
from slimrank.types import Scored

KEPT_SECONDS = 120.0
"""The time that a reader takes for a page."""
MOST_WINDOWS = 1000
"""Of a hundred hits each they take about a megabyte."""


class FirstPageNotScored(ScoringError):
    """The first page was answered in the first stage's order, and so are the pages behind it."""

    def __init__(self) -> None:
        super().__init__(
            "the first page of this search was not reranked, so this page is not either; search again from the first"
        )


@dataclass(slots=True)
class _Kept:
    scored: Scored | None
    """None: it could not be scored."""
    end: float


class Windows:
    """The windows of one scorer; used by several threads.

    Args:
        seconds: How long a window is kept after it was scored, and again after each page behind the first.
        most: Windows kept; the least recently used leave first.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, *, seconds: float = KEPT_SECONDS, most: int = MOST_WINDOWS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[bytes, threading.Lock] = WeakValueDictionary()

    def find(self, key: bytes, *, is_first_page: bool) -> Scored | None:
        """Return what was said of a window; None where it is to be scored.

        Raises:
            FirstPageNotScored: it could not be scored for an earlier page. A first page is told nothing of that, and tries again.
        """
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.end < self._clock() or (is_first_page and found.scored is None):
                return None
            self._kept.move_to_end(key)
            if not is_first_page:
                found.end = self._clock() + self._seconds
            if found.scored is None:
                raise FirstPageNotScored
            return found.scored

    def keep(self, key: bytes, scored: Scored | None) -> None:
        """Keep what was said of a window, or None where it could not be scored; a failure takes no scores back."""
        with self._lock:
            known = self._kept.get(key)
            if scored is None and known is not None and known.scored is not None and known.end >= self._clock():
                return
            self._kept[key] = _Kept(scored, self._clock() + self._seconds)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    @contextlib.contextmanager
    def turn(self, key: bytes) -> Iterator[None]:
        """Let one thread at a time look at a window and score it: pages asked for at once are pages of one order too."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            yield


class Part(NamedTuple):
    """Which part of a document is read; None = what the gateway, or this process, is set to."""

    window: Literal["head", "best"] | None = None
    tokens: int | None = None
    """At most."""

    def fields(self) -> dict[str, str | int]:
        """Return what of it is said, by the names of a request's fields."""
        said = {"document_window": self.window, "max_tokens_per_doc": self.tokens}
        return {name: value for name, value in said.items() if value is not None}


AS_SET = Part()


def window_key(query: str, documents: Sequence[str], instruction: str | None, part: Part = AS_SET) -> bytes:
    """Return what tells a window from any other."""
    digest = hashlib.blake2b(digest_size=16)
    for text_of in (query, instruction or "", part.window or "", str(part.tokens or ""), *documents):
        text = text_of.encode("utf-8", "surrogatepass")
        # lengths keep parts apart
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.digest()
