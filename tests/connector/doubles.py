"""Small doubles: a scorer that counts shared words, a scorer that fails, and an engine over a list."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from slimrank.errors import ModelNotReady
from slimrank.types import Scored


class OverlapScorer:
    """Scores a document by the share of its words that are in the query, and records every call."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], str | None]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.asked.append((query, list(documents), instruction))
        words = set(query.lower().split())
        shares = [len(words & set(text.lower().split())) / (len(text.split()) or 1) for text in documents]
        return Scored(np.array(shares, dtype=np.float32), np.zeros(len(documents), dtype=np.bool_), False, 0)


class ReverseScorer:
    """Reverses the first-stage order."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        count = len(documents)
        return Scored(np.arange(count, dtype=np.float32), np.zeros(count, dtype=np.bool_), False, 0)


class DownScorer:
    """Fails like a gateway without a worker."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        raise ModelNotReady("no worker answers; start one with `slimrank worker`")


class ListEngine:
    """A search client over a list of sources. It returns them in the order of the list, in pages like an engine."""

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
    """An async ``ListEngine``."""

    async def search(self, *, index: Any, body: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().search(index=index, body=body)
