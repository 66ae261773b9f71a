"""What a model worked on and when, written down by a fake one, and how much of it was for callers who had left by then."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimrank.types import Scored
from tests.doubles import FakeScorer


class WritingScorer(FakeScorer):
    """Writes a line a run: the query, and when the run began and ended, by the machine's monotonic clock."""

    def __init__(self, file: Path, *, seconds: float = 0.0, document_seconds: float = 0.0) -> None:
        super().__init__(seconds=seconds, document_seconds=document_seconds)
        self._file = file

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Score as its parent does."""
        begin = time.monotonic()
        try:
            return super().score(query, documents, instruction=instruction)
        finally:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([query, begin, time.monotonic()]) + "\n")


@dataclass(frozen=True, slots=True)
class AfterLeaving:
    """What a model did for one request after its caller had left."""

    seconds: float
    begun: int
    """Runs that began after the caller had left."""


def after_leaving(lines: Sequence[str], left: Mapping[str, float]) -> list[AfterLeaving]:
    """Return the work for each query whose caller left, which says when, as far as the model ever worked on it.

    Args:
        lines: As ``WritingScorer`` writes them.
    """
    found: dict[str, AfterLeaving] = {}
    for query, begin, end in map(json.loads, lines):
        if query in left:
            known = found.get(query, AfterLeaving(0.0, 0))
            vain = max(0.0, end - max(begin, left[query]))
            found[query] = AfterLeaving(known.seconds + vain, known.begun + (begin > left[query]))
    return list(found.values())
