"""Plan which search to send to the engine so that it can be reranked, and build the final answer. Sends nothing itself.

The first ``rank_window_size`` hits of the first stage are reranked together, the other hits follow, and every page is cut from
that one list. So paging shows no hit twice and misses none. Both the client and the proxy use this module. A search that cannot
be reranked is sent unchanged, and the plan holds the reason.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector.fields import Template, matches
from connector.query_text import find_query_text
from slimrank.errors import ConfigError
from slimrank.scoring import rank
from slimrank.types import Json, Scored

DEFAULT_WINDOW = 20
"""The default window: two cores score this number of hits in about a second (docs/decisions/0008)."""
_NO_TEMPLATE = Template()
_DEFAULT_SIZE = 10  # the default of both engines
_FRAGMENTS = {"type": "unified", "number_of_fragments": 3, "fragment_size": 400, "pre_tags": [""], "post_tags": [""]}
_COMPOUND_RETRIEVERS = ("rrf", "linear", "rule", "pinned", "diversify")


@dataclass(frozen=True, slots=True)
class Options:
    """How to rerank a search.

    Attributes:
        query: The text to judge by. Default: the text that the body searches for.
        fields: The fields that make up a document. Default: the fields that the body searches.
        template: A text with fields in braces, instead of ``fields``.
        highlight: Judge only the engine's best fragments of each field. A field that the search itself highlights is judged
            whole.
        explain: Add the document and its ranks to each hit.
    """

    query: str | None = None
    fields: Sequence[str] = ()
    template: str | None = None
    rank_window_size: int = DEFAULT_WINDOW
    highlight: bool = False
    explain: bool = False
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class RerankPlan:
    """A search to send. If it cannot be reranked, ``reason`` says why, and ``body`` is the caller's body."""

    body: Json
    reason: str = ""
    query: str = ""
    template: Template = _NO_TEMPLATE
    start: int = 0
    size: int = _DEFAULT_SIZE
    window: int = 0
    explain: bool = False
    added_fields: tuple[str, ...] = ()
    added_highlights: tuple[str, ...] = ()
    drop_source: bool = False
    depends_on_size: bool = False
    """Whether the engine's order depends on the requested number of hits, as in hybrid search and fusion."""


def plan_search(body: Json, options: Options) -> RerankPlan:
    """Return the search to send instead of ``body``, which is not changed.

    Raises:
        ConfigError: the window or the template is invalid.
    """
    if options.rank_window_size < 1:
        raise ConfigError(f"rank_window_size is {options.rank_window_size}; give the number of hits to rerank, at least 1")
    template = Template.of(options.fields, options.template)
    start, size = body.get("from") or 0, body.get("size", _DEFAULT_SIZE)
    if not (isinstance(start, int) and isinstance(size, int)):
        return RerankPlan(body, reason="size or from is not a whole number")
    fused = _fused_window(body)
    window = options.rank_window_size if fused is None else min(options.rank_window_size, fused)
    found = find_query_text(body)
    query = options.query or found.text or ""
    last = start + size if fused is None else min(start + size, fused)
    depends = _depends_on_size(body)
    if (
        reason := _reason_to_pass(body, start, size, window)
        or _reason_of_fusion(depends, start, last, window)
        or ("" if query.strip() else found.reason)
    ):
        return RerankPlan(body, reason=reason)
    if not template.fields:
        template = Template(found.fields)
    wanted = dict(body)
    wanted["from"], wanted["size"] = 0, max(window, last)
    added_fields = _ask_for_fields(wanted, template)
    added_highlights = _ask_for_fragments(wanted, template) if options.highlight and template.fields else ()
    template = replace(template, fragments=added_highlights)
    return RerankPlan(
        wanted, query=query, template=template, depends_on_size=depends, start=start, size=size, window=window, explain=options.explain,
        added_fields=added_fields, added_highlights=added_highlights, drop_source=wanted.get("_source") != body.get("_source"),
    )  # fmt: skip


def _fused_window(body: Json) -> int | None:
    """Return how many hits a fusion or a compound retriever ranks, or None. Elasticsearch refuses a larger ``size``."""
    retriever, fusion = body.get("retriever"), body.get("rank")
    found = [
        _window_of(options)
        for name, options in (retriever.items() if isinstance(retriever, dict) else ())
        if name in _COMPOUND_RETRIEVERS
    ]
    if isinstance(retriever, dict) and isinstance(retriever.get("rescorer"), dict):
        rescore = retriever["rescorer"].get("rescore")
        found.append(
            max((_window_of(each) for each in (rescore if isinstance(rescore, list) else [rescore])), default=_DEFAULT_SIZE)
        )
    if isinstance(fusion, dict):  # the form before there were retrievers
        found += [_window_of(options) for options in fusion.values()]
    return min(found, default=None)


def _window_of(options: Any) -> int:
    sizes = [options.get(name) for name in ("rank_window_size", "window_size")] if isinstance(options, dict) else []
    return next((size for size in sizes if isinstance(size, int) and size > 0), _DEFAULT_SIZE)


def _depends_on_size(body: Json) -> bool:
    retriever = body.get("retriever") or {}
    if body.get("rank") is not None or body.get("knn") is not None or set(retriever) - {"standard"}:
        return True
    return holds_key(body.get("query"), "hybrid") or holds_key([body.get("query"), retriever], "knn")


def holds_key(value: Any, key: str) -> bool:
    """Tell whether a value contains a key at any depth."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if key in found:
                return True
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
    return False


def _reason_of_fusion(depends_on_size: bool, start: int, last: int, window: int) -> str:
    if depends_on_size and start > 0 and last > window:
        return f"a page of a hybrid search goes beyond the window: more than {window} hits would be ordered otherwise"
    return ""


def _reason_to_pass(body: Json, start: int, size: int, window: int) -> str:
    if size == 0:
        return "size is 0: there are no hits to rerank"
    if start >= window:
        return f"the page starts at {start}, beyond the {window} reranked hits"
    if body.get("sort") not in (None, [], "_score", ["_score"], [{"_score": "desc"}], [{"_score": {"order": "desc"}}]):
        return "the search is sorted by a field, not by relevance"
    for key in ("search_after", "slice", "scroll"):
        if key in body:
            return f"{key} goes through the first stage's order"
    if "stored_fields" in body:
        return "stored_fields hides the text of the hits"
    if "rerank" in (body.get("ext") or {}) or "text_similarity_reranker" in (body.get("retriever") or {}):
        return "the engine reranks this search itself"
    return ""


def _ask_for_fields(body: Json, template: Template) -> tuple[str, ...]:
    """If ``_source`` is filtered, request the template's fields separately; return those that the caller did not request."""
    if body.get("_source", True) in (True, "true"):
        return ()
    if not template.fields:  # no field is named: read what the caller sees, or everything if the caller sees nothing
        body["_source"] = body["_source"] or True
        return ()
    present = body.get("fields") or []
    added = tuple(name for name in template.fields if not matches(name, present))
    body["fields"] = [*present, *added]
    return added


def _ask_for_fragments(body: Json, template: Template) -> tuple[str, ...]:
    highlight = body["highlight"] = copy.deepcopy(body.get("highlight") or {})
    fields = highlight.setdefault("fields", {})
    present = [name for entry in fields for name in entry] if isinstance(fields, list) else list(fields)
    added = tuple(name for name in template.fields if not matches(name, present))
    if isinstance(fields, list):
        fields.extend({name: dict(_FRAGMENTS)} for name in added)
    else:
        fields.update({name: dict(_FRAGMENTS) for name in added})
    return added


def documents_of(plan: RerankPlan, answer: Json) -> list[str]:
    """Return the texts of the hits to rerank, in first-stage order."""
    return [plan.template.render(hit) for hit in answer["hits"]["hits"][: plan.window]]


def finish(plan: RerankPlan, answer: Json, scored: Scored | None, *, reason: str = "") -> Json:
    """Return the answer to the caller's search: reordered by ``scored``, or in first-stage order if ``scored`` is None.

    Every hit keeps its first-stage score and rank. ``slimrank`` says whether the answer was reranked, and if not, why.
    """
    hits = [
        {**hit, "_first_stage_score": hit.get("_score"), "_first_stage_rank": place}
        for place, hit in enumerate(answer["hits"]["hits"], start=1)
    ]
    if scored is not None:
        hits = _reordered(plan, hits, scored) + hits[len(scored.scores) :]
    page = [_as_asked(plan, hit) for hit in hits[plan.start : plan.start + plan.size]]
    mark: Json = {"reranked": scored is not None}
    if scored is None:
        mark["reason"] = reason
    else:
        mark |= {"query": plan.query, "hits": len(scored.scores), "truncated": int(scored.truncated.sum())}
        mark |= {} if scored.depth is None else {"scored": scored.depth}
    best = float(scored.scores.max()) if scored is not None and len(scored.scores) else answer["hits"].get("max_score")
    return {**answer, "hits": {**answer["hits"], "max_score": best, "hits": page}, "slimrank": mark}


def _reordered(plan: RerankPlan, hits: list[Json], scored: Scored) -> list[Json]:
    best_first = []
    for place, ranked in enumerate(rank(scored), start=1):
        hit = {**hits[ranked.index], "_score": ranked.score}
        if plan.explain:
            hit["_slimrank"] = {
                "rank": place,
                "first_stage_rank": ranked.index + 1,
                "probability": ranked.probability,
                "truncated": ranked.truncated,
                "document": plan.template.render(hits[ranked.index]),
            }
        best_first.append(hit)
    return best_first


def _as_asked(plan: RerankPlan, hit: Json) -> Json:
    """Remove the fields that were requested only for judging."""
    hit = dict(hit)
    if plan.drop_source:
        hit.pop("_source", None)
    for part, names in (("fields", plan.added_fields), ("highlight", plan.added_highlights)):
        if names and part in hit:
            kept = {name: value for name, value in hit[part].items() if not matches(name, names) and not _holds(name, names)}
            hit = {**hit, part: kept} if kept else {key: value for key, value in hit.items() if key != part}
    return hit


def _holds(name: str, paths: tuple[str, ...]) -> bool:
    """Tell whether a key of ``fields`` is the nested object that holds a requested path."""
    return any(path.startswith(name + ".") for path in paths)
