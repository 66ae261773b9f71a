"""Find obstacles that prevent the reranking of a search. Every reason is a fixed phrase for headers and metric labels.

Aggregations, suggestions, highlighting, rescoring and collapsing are not obstacles, because they do not depend on the order of
the hits. In a collapsed search, the first hits of the groups are reranked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.fields import matches
from connector.rerank_plan import RerankPlan, holds_key
from slimrank.types import Json

_ALSO_FIELDS = ("docvalue_fields", "script_fields", "collapse")
_HIDDEN_IN = ("hits", "hits", "_source")


class Obstacle(Exception):
    """A search that must not be reranked; the message is the reason."""


def check_params(params: Mapping[str, str]) -> None:
    """Raise an obstacle in the parameters of the URL."""
    for name, reason in (
        ("scroll", "scroll"),
        ("sort", "sort"),
        ("source", "the body is in the URL"),
        ("stored_fields", "stored_fields"),
    ):
        if name in params and params[name] not in ("", "_score"):
            raise Obstacle(reason)
    if params.get("format", "json") != "json":
        raise Obstacle("the answer is not JSON")
    if "filter_path" in params and not _shows(params["filter_path"], _HIDDEN_IN):
        raise Obstacle("filter_path hides the hits")


def _shows(filter_path: str, place: Sequence[str]) -> bool:
    """Tell whether a filter_path keeps all of ``place``; any exclusion counts as hiding it."""
    patterns = filter_path.split(",")
    return not any(pattern.startswith("-") for pattern in patterns) and any(
        _covers(pattern.split("."), place) for pattern in patterns
    )


def _covers(names: Sequence[str], place: Sequence[str]) -> bool:
    if not names:
        return True  # the pattern ends above the place, so it includes the place
    if names[0] == "**":
        return len(names) == 1 or any(_covers(names[1:], place[start:]) for start in range(len(place)))
    return bool(place) and names[0] in ("*", place[0]) and _covers(names[1:], place[1:])


def check_body(search: Json) -> None:
    """Raise an obstacle in the body, after the URL's parameters were merged into it."""
    extensions = search.get("ext")
    if (isinstance(extensions, dict) and "rerank" in extensions) or holds_key(
        search.get("retriever"), "text_similarity_reranker"
    ):
        raise Obstacle("the engine reranks this search itself")
    for name, reason in (
        ("pit", "point in time"),
        ("search_after", "search_after"),
        ("slice", "slice"),
        ("stored_fields", "stored_fields"),
    ):
        if search.get(name) is not None:
            raise Obstacle(reason)
    size, start = search.get("size", 10), search.get("from", 0)
    if any(not isinstance(value, int) or isinstance(value, bool) or value < 0 for value in (size, start)):
        raise Obstacle("size or from is not a whole number")


def check_fields(search: Json, plan: RerankPlan, params: Mapping[str, str]) -> None:
    """Raise an obstacle if the added fields could not be distinguished from the caller's fields."""
    if plan.drop_source:
        raise Obstacle("_source is filtered and the rule names no fields")
    if plan.added_highlights and "filter_path" in params and not _shows(params["filter_path"], ("hits", "hits", "highlight")):
        raise Obstacle("filter_path hides the fragments")
    if not plan.added_fields:
        return
    if "filter_path" in params and not _shows(params["filter_path"], ("hits", "hits", "fields")):
        raise Obstacle("filter_path hides the hits")
    others = [*search.get("fields", []), *_names(search), *params.get("docvalue_fields", "").split(",")]
    roots = {str(entry.get("field", "") if isinstance(entry, dict) else entry).split(".")[0] for entry in others}
    if any(name.split(".")[0] in roots or matches(name, others) for name in plan.added_fields):
        raise Obstacle("the search's own fields overlap with the rule's")


def _names(search: Json) -> list[Any]:
    found: list[Any] = []
    for part in _ALSO_FIELDS:
        content = search.get(part, [])
        found += [content.get("field", "")] if part == "collapse" and isinstance(content, dict) else list(content)
    return found


def short(reason: str) -> str:
    """Return a plan's reason without quoted texts, for headers and metrics."""
    if " texts, " in reason:
        return "the search has several query texts"
    if reason.startswith("the query string"):
        return "the query string has operators"
    return "the page lies behind the window" if reason.startswith("the page starts") else reason.split(":")[0]
