"""Ask one side one query, and put its hits into an order that does not depend on internal document numbers.

Engines break ties of ``_score`` by internal document numbers, which every reindex changes. Here ties are ordered by business id.
If a tie goes beyond the requested hits, more hits are requested until the tie ends. ``preference`` pins the shard copies. The
query is inserted into the parsed body, never into JSON text, so no query can break the body.

This module knows only one side; it compares nothing.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from connector.audit.ask.access import Reached
from connector.audit.spec import Side, Spec
from connector.cluster import Refusal
from connector.fields import Template
from connector.scorers import score_hits
from slimrank.errors import ConfigError, DataError
from slimrank.hits import value_at
from slimrank.types import Json

_MOST_HITS = 5_000  # below the engines' default max_result_window of 10,000
_SIGNIFICANT = 6
"""The significant digits of a score. ``_score`` is a 32-bit sum over clauses; its last digit depends on the order of addition."""


class Searcher:
    """Asks one side."""

    def __init__(self, reached: Reached, spec: Spec) -> None:
        side = reached.side
        self._side, self._spec, self._cluster, self._scorer = side, spec, reached.cluster, reached.scorer
        self._template = template_of(side)
        self._path = _path(side)
        self._size = _size(side, spec.depth)
        # A pipeline or a retriever may rerank all requested hits, and then it needs their text
        self._reranks_inside = bool(reached.pipeline) or bool({"search_pipeline", "retriever", "rescore"} & self._template.keys())

    def ask(self, query: str) -> tuple[Json, Json]:
        """Return the answer, which is compared, and the timing, which may differ from run to run.

        Raises:
            EngineUnavailable: the engine does not answer.
            DataError: a hit has no business id, or a shard failed.
        """
        start = time.perf_counter()
        try:
            answer, took = self._search(query)
        except Refusal as refusal:
            if refusal.status in (401, 403, 404, 429) or refusal.status >= 500:
                raise
            # A query that this side cannot parse is a finding; the audit continues
            answer, took = {"ids": [], "scores": [], "total": 0, "error": refusal.reason[:300]}, 0
        return answer, {"seconds": round(time.perf_counter() - start, 6), "took_ms": took}

    def _search(self, query: str) -> tuple[Json, int]:
        size = self._size
        while True:
            found = self._cluster.read(self._path, self._body(query, size))
            hits: list[Json] = found["hits"]["hits"]
            can_grow = size < _MOST_HITS and not self._reranks_inside and "size" not in self._template
            if not (can_grow and self._tie_is_open(hits, size)):
                break
            size = min(size * 4, _MOST_HITS)
        answer: Json = {"total": total_of(found), **({"open_tie": True} if self._tie_is_open(hits, size) else {})}
        if failed := found.get("_shards", {}).get("failed"):
            raise DataError(f"{failed} shards of {self._side.index} failed to answer; an audit of part of an index would mislead")
        ranked = self._rank(query, hits)
        distinct = dict.fromkeys(document for document, _ in ranked)
        if len(distinct) < len(ranked):
            answer["duplicates"] = len(ranked) - len(distinct)
        scores = dict(reversed(ranked))
        kept = list(distinct)[: self._spec.depth]
        return answer | {"ids": kept, "scores": [scores[document] for document in kept]}, int(found.get("took", 0))

    def _body(self, query: str, size: int) -> Json:
        body = {"track_total_hits": True, "size": size, **fill(self._template, query)}
        if "_source" not in body and not (self._reranks_inside or self._scorer):  # rerankers need the text
            body["_source"] = False if self._spec.id_field == "_id" else [self._spec.id_field]
        return body

    def _tie_is_open(self, hits: Sequence[Json], size: int) -> bool:
        """Tell whether the tie at the last rank that counts goes beyond the returned hits."""
        k = self._side.rerank.rank_window_size if self._side.rerank else self._spec.k
        if len(hits) < size or len(hits) < k or not is_by_score(hits):
            return False
        return same_score(hits[k - 1]["_score"], hits[-1]["_score"])

    def first_stage(self, query: str, size: int) -> list[tuple[str, Json]]:
        """Return the business ids and hits of the first stage, in the order in which they are reranked."""
        return self._ordered(self._cluster.read(self._path, self._body(query, size) | {"size": size})["hits"]["hits"])

    def _ordered(self, hits: Sequence[Json]) -> list[tuple[str, Json]]:
        """Order ties by business id; if the hits are sorted by something other than the score, keep their order."""
        pairs = [(business_id(hit, self._spec.id_field), hit) for hit in hits]
        return sorted(pairs, key=lambda pair: (-rounded(pair[1]["_score"]), pair[0])) if is_by_score(hits) else pairs

    def _rank(self, query: str, hits: Sequence[Json]) -> list[tuple[str, float]]:
        pairs = self._ordered(hits)
        if not is_by_score(hits):  # sorted by the search or by a pipeline: the engine's order counts
            return [(document, float(hit.get("_score") or 0.0)) for document, hit in pairs]
        if self._side.rerank and self._scorer and pairs:
            window = pairs[: self._side.rerank.rank_window_size]
            text = Template.of(self._side.rerank.fields)
            texts = [text.render(hit) for _, hit in window]
            scores = score_hits(self._scorer, query, texts, offset=int(self._template.get("from", 0))).scores.tolist()
            reranked = [(document, score) for (document, _), score in zip(window, scores, strict=True)]
            return sorted(reranked, key=lambda pair: -pair[1])  # equal scores keep the first stage's order, as in serving
        return [(document, rounded(hit["_score"])) for document, hit in pairs]


def template_of(side: Side) -> Json:
    """Return the search body of a side, which still contains {{query}}."""
    if side.body is not None:
        template = copy.deepcopy(side.body)
    else:
        template = {"query": {"multi_match": {"query": "{{query}}", "fields": side.fields}}}
    if "{{query}}" not in str(template):
        raise ConfigError(f"the body for {side.index} does not contain {{{{query}}}}, so every query would get the same hits")
    return template


def _path(side: Side) -> str:
    parameters = {"preference": "slimrank-audit", "search_type": side.search_type}
    if side.pipeline:
        parameters["search_pipeline"] = side.pipeline
    return f"/{quote(side.index, safe=',*')}/_search?" + "&".join(f"{name}={quote(value)}" for name, value in parameters.items())


def _size(side: Side, depth: int) -> int:
    """Return how many hits to request: with a reranker, one more than its window, to notice a tie at the window's border."""
    return side.rerank.rank_window_size + 1 if side.rerank else depth


def fill(template: Any, query: str) -> Any:
    """Return the template in which {{query}} is replaced in every string."""
    if isinstance(template, dict):
        return {key: fill(value, query) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(item, query) for item in template]
    return template.replace("{{query}}", query) if isinstance(template, str) else template


def rounded(score: float) -> float:
    """Return a score rounded to its significant digits."""
    return float(f"{score:.{_SIGNIFICANT}g}")


def same_score(a: float | None, b: float | None) -> bool:
    """Tell whether two scores are a tie."""
    return a is not None and b is not None and rounded(a) == rounded(b)


def is_by_score(hits: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether hits are ordered by decreasing score, which is not so if they are sorted by another value."""
    scores = [hit.get("_score") for hit in hits]
    return all(a is not None and b is not None and a >= b for a, b in pairwise(scores)) and None not in scores


def total_of(found: Mapping[str, Any]) -> int:
    """Return the number of hits of a search answer."""
    total = found["hits"].get("total", 0)
    return int(total["value"] if isinstance(total, dict) else total)


def business_id(hit: Mapping[str, Any], id_field: str) -> str:
    """Return the id by which both sides and all judgments know a document.

    Raises:
        DataError: the hit does not have it.
    """
    value = hit["_id"] if id_field == "_id" else value_at(hit.get("_source") or {}, id_field)
    if value is None:
        raise DataError(
            f"document {hit['_id']} of {hit['_index']} has no {id_field}; name the business id with id_field, or use _id"
        )
    return str(value)
