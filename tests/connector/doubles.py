"""Small real doubles: a scorer that counts shared words, one that fails, and an engine that is a list."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from slimrank.errors import ModelNotReady
from slimrank.types import Scored


class OverlapScorer:
    """Scores a document by the share of its words that the query has; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], str | None]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.asked.append((query, list(documents), instruction))
        words = set(query.lower().split())
        shares = [len(words & set(text.lower().split())) / (len(text.split()) or 1) for text in documents]
        return Scored(np.array(shares, dtype=np.float32), np.zeros(len(documents), dtype=np.bool_), False, 0)


class ReverseScorer:
    """Turns the first stage's order around."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        count = len(documents)
        return Scored(np.arange(count, dtype=np.float32), np.zeros(count, dtype=np.bool_), False, 0)


class DownScorer:
    """Fails as a gateway without a worker does."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        raise ModelNotReady("no worker answers; start one with `slimrank worker`")


class ListEngine:
    """A search client over a list of sources, in that order; pages as engines do."""

    def __init__(self, sources: list[dict[str, Any]]) -> None:
        self.sources = sources
        self.bodies: list[dict[str, Any]] = []

    def search(self, *, index: Any, body: Any) -> dict[str, Any]:
        self.bodies.append(body)
        hits = [
            {"_index": index, "_id": str(number), "_score": float(len(self.sources) - number), "_source": source}
            for number, source in enumerate(self.sources)
        ]
        page = hits[body.get("from", 0) :][: body.get("size", 10)]
        return {"took": 1, "hits": {"total": {"value": len(hits), "relation": "eq"}, "max_score": 9.0, "hits": page}}


class AsyncListEngine(ListEngine):
    """The same, awaited."""

    async def search(self, *, index: Any, body: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().search(index=index, body=body)
