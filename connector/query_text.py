"""Find the text that a search body searches for, and the fields that it searches.

It reads the query language of OpenSearch and Elasticsearch: full-text clauses, compound clauses, hybrid, neural and retriever
bodies. ``must_not`` never counts; a filter counts only if nothing else has a text. If there are several different texts, the
module does not guess: the caller has to name one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slimrank.types import Json

_PER_FIELD = {  # {clause: {field: text or {key: text}}}
    "match": "query",
    "match_phrase": "query",
    "match_phrase_prefix": "query",
    "match_bool_prefix": "query",
    "combined_fields": "query",
    "common": "query",
    "neural": "query_text",
    "neural_sparse": "query_text",
    "text_expansion": "model_text",
}
_WITH_FIELDS = ("multi_match", "query_string", "simple_query_string", "combined_fields", "semantic", "sparse_vector")
_INSIDE = (  # compound clauses and retrievers, and the keys under which they hold other clauses
    ("bool", ("must", "should")),
    ("dis_max", ("queries",)),
    ("hybrid", ("queries",)),
    ("function_score", ("query",)),
    ("script_score", ("query",)),
    ("boosting", ("positive",)),
    ("nested", ("query",)),
    ("has_child", ("query",)),
    ("has_parent", ("query",)),
    ("pinned", ("organic",)),
    ("standard", ("query", "retriever")),
    ("rrf", ("retrievers",)),
    ("linear", ("retrievers",)),
    ("rule", ("retriever",)),
    ("rescorer", ("retriever",)),
)
# Operators of a query string; a text with operators is not a query for a model.
_OPERATORS = re.compile(r"""[:*?~^()\[\]{}"\\/<>=|]|(?:^|\s)[+\-!]\S|&&|\b(?:AND|OR|NOT)\b""")
_FILTERS = (("bool", ("filter",)), ("constant_score", ("filter",)))


@dataclass(frozen=True, slots=True)
class QueryText:
    """The text, or the reason why there is none; ``fields`` are the searched fields, in order, without boosts."""

    text: str | None
    fields: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    text: str
    fields: tuple[str, ...]
    has_operators: bool = False


def find_query_text(body: Json) -> QueryText:
    """Return the one text that ``body`` searches for."""
    for inside in (_INSIDE, _INSIDE + _FILTERS):
        try:
            found = list(_walk(_root(body), inside))
        except RecursionError:
            return QueryText(None, reason="the query is nested too deeply to read")
        texts = list(dict.fromkeys(item.text for item in found if item.text.strip()))
        if len(texts) == 1 and not any(item.has_operators for item in found):
            return QueryText(texts[0], _fields(found))
        if len(texts) == 1:
            return QueryText(None, reason=f"the query string {texts[0]!r} has operators; name the text to judge by")
        if texts:
            return QueryText(
                None, reason=f"the query has {len(texts)} texts, {texts[0]!r} and {texts[1]!r}; name the one to judge by"
            )
    return QueryText(None, reason="the query has no text to judge by")


def _root(body: Json) -> list[Any]:
    knn = body.get("knn")
    searches = [each.get("query") for each in body.get("sub_searches") or [] if isinstance(each, dict)]
    return [
        body.get("query"),
        body.get("retriever"),
        *searches,
        *({"knn": entry} for entry in (knn if isinstance(knn, list) else [knn])),
    ]


def _fields(found: list[_Found]) -> tuple[str, ...]:
    plain = (field.split("^")[0] for item in found for field in item.fields)
    return tuple(dict.fromkeys(field for field in plain if field and "*" not in field))


def _walk(clauses: list[Any], inside: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[_Found]:
    for clause in clauses:
        if isinstance(clause, dict):
            yield from _clause(clause, inside)


def _clause(clause: Json, inside: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[_Found]:
    for name, options in clause.items():
        if not isinstance(options, dict):
            continue
        if name in _WITH_FIELDS and isinstance(options.get("query"), str):
            fields = options.get("fields") or [options.get("default_field") or options.get("field") or ""]
            has_operators = name.endswith("query_string") and _OPERATORS.search(options["query"]) is not None
            yield _Found(options["query"], tuple(fields if isinstance(fields, list) else [fields]), has_operators)
        elif name in _PER_FIELD:
            yield from _per_field(options, _PER_FIELD[name])
        elif name == "knn":
            embedding = options.get("query_vector_builder", {}).get("text_embedding", {})
            if isinstance(embedding.get("model_text"), str):
                yield _Found(embedding["model_text"], ())
        elif name in ("retriever", "text_similarity_reranker"):  # each entry of a linear retriever wraps a retriever
            yield from _walk([options.get("retriever", options)], inside)
        for compound, places in inside:
            if name == compound:
                for place in places:
                    held = options.get(place)
                    yield from _walk(held if isinstance(held, list) else [held], inside)


def _per_field(options: Json, key: str) -> Iterator[_Found]:
    for field, value in options.items():
        text = value.get(key) if isinstance(value, dict) else value
        if isinstance(text, str | int | float) and not isinstance(text, bool) and not field.startswith("_"):
            # neural clauses name a field of vectors or tokens, not of text
            yield _Found(str(text), (field,) if key == "query" else ())
