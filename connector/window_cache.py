"""Keep the scores of a window of hits for a while, so that all pages of one search are cut from the same order.

Each page of a search is a separate request, which fetches the same hits again. If they were scored again under a deadline, the
number of scored hits would differ, and paging would show some hits twice and miss others. So later pages use the scores of the
first page, even if a deadline left some of its hits without scores. The key of a window is made from the query, the documents and
the options of judging: if the index has changed in between, the key is another.
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
"""About the time that a reader spends on a page."""
MOST_WINDOWS = 1000
"""With a hundred hits each, they need about a megabyte."""


class FirstPageNotScored(ScoringError):
    """The first page was answered in first-stage order, so later pages are too."""

    def __init__(self) -> None:
        super().__init__(
            "the first page of this search was not reranked, so this page is not either; search again from the first"
        )


@dataclass(slots=True)
class _Kept:
    scored: Scored | None
    """The scores of the window; None if it could not be scored."""
    end: float


class Windows:
    """The windows of one scorer; several threads may use it.

    Args:
        seconds: How long a window is kept after scoring. Each later page starts this time again.
        most: The most windows to keep; the least recently used are dropped first.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self, *, seconds: float = KEPT_SECONDS, most: int = MOST_WINDOWS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[bytes, threading.Lock] = WeakValueDictionary()

    def find(self, key: bytes, *, is_first_page: bool) -> Scored | None:
        """Return the scores of a window; None if the caller has to score it.

        Raises:
            FirstPageNotScored: it could not be scored for an earlier page. This is not raised for a first page, which tries
                again.
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
        """Keep the scores of a window, or None if scoring failed; a failure does not replace scores."""
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
        """Let one thread at a time look up and score a window, so that pages requested at the same time share one order."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            yield


class Part(NamedTuple):
    """Which part of a document is read; None = the setting of the gateway or of this process."""

    window: Literal["head", "best"] | None = None
    tokens: int | None = None
    """The most tokens to read."""

    def fields(self) -> dict[str, str | int]:
        """Return the values that are set, by the names of a request's fields."""
        said = {"document_window": self.window, "max_tokens_per_doc": self.tokens}
        return {name: value for name, value in said.items() if value is not None}


AS_SET = Part()


def window_key(query: str, documents: Sequence[str], instruction: str | None, part: Part = AS_SET) -> bytes:
    """Return the key of a window; different windows have different keys."""
    digest = hashlib.blake2b(digest_size=16)
    for text_of in (query, instruction or "", part.window or "", str(part.tokens or ""), *documents):
        text = text_of.encode("utf-8", "surrogatepass")
        # the lengths keep adjacent parts distinct
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.digest()
