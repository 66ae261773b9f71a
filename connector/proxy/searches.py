"""Decide what happens to one search: passed with a reason, or reranked by a rule with a plan. Pure; sends nothing.

What a search asks in its URL (`q`, `size`, `from`, `sort`, `_source`, ...) wins over its body, as in the engines.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from connector.fields import matches
from connector.proxy.rules import Extension, Reranking, Rule, Rules, read_extension
from connector.proxy.splice import without_extension
from connector.rerank_plan import Options, RerankPlan, plan_search
from slimrank.errors import InvalidRequest

Json = dict[str, Any]
Params = list[tuple[str, str]]

_OPERATORS = ':*?~^()[]{}"\\/<>='
_ALSO_FIELDS = ("docvalue_fields", "script_fields", "collapse")
_NOTHING, _NO_PLAN = Reranking(), RerankPlan({})
_HIDDEN_IN = ("hits", "hits", "_source")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path says: the indices as named, and whether it holds one search or many."""

    indices: str
    many: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one search.

    Attributes:
        reason: why it is passed; empty where it is reranked.
        rule: the rule's name, or "ext".
        how: depth, deadline and instruction.
        depends_on_size: the engine's own order changes with the number of hits asked for, as in hybrid search and fusion.
        body: the body without `ext.slimrank`, or None where it had none.
    """

    reason: str = ""
    rule: str = ""
    how: Reranking = _NOTHING
    plan: RerankPlan = _NO_PLAN
    shadow: bool = False
    depends_on_size: bool = False
    body: bytes | None = None


class Obstacle(Exception):
    """A search that must not be reranked; the message is the reason."""


def target_of(path: bytes) -> Target | None:
    """Return what a path searches; None for every path that is not `_search` or `_msearch`."""
    parts = path.decode("latin-1").strip("/").split("/")
    if parts[-1] not in ("_search", "_msearch") or len(parts) > 2:
        return None
    indices = unquote(parts[0]) if len(parts) == 2 else ""
    if indices.startswith("_") and indices != "_all":
        return None
    return Target(indices, parts[-1] == "_msearch")


def target_for(indices: str) -> bytes:
    """Return the path that searches `indices`."""
    return (f"/{quote(indices, safe=',*')}" if indices else "").encode() + b"/_search"


def params_of(query_string: bytes) -> Params:
    """Return the parameters of a URL."""
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


def decide(rules: Rules, indices: str, params: Params, body: bytes) -> Decision:
    """Decide on one search."""
    own: bytes | None = None
    try:
        search = _parse(body)
        extension = _extension(search, rules)
        if extension is not None:
            own = without_extension(body.decode()).encode()
        return _decide(rules, indices, dict(params), search, extension, own)
    except Obstacle as obstacle:
        return Decision(str(obstacle), body=own)
    except InvalidRequest as error:
        return Decision(str(error), body=without_extension(body.decode()).encode())
    except RecursionError:
        return Decision("the search is nested too deep", body=own)


def _decide(
    rules: Rules, indices: str, params: Mapping[str, str], search: Json, extension: Extension | None, own: bytes | None
) -> Decision:
    rule = rules.find(indices)
    if extension is not None and not extension.enabled:
        raise Obstacle("the search asks not to be reranked")
    if rule is None and extension is None:
        raise Obstacle("no rule covers these indices")
    how, query, path = _choose(rule, extension)
    _check_params(params)
    folded = _fold(search, params)
    _check_body(folded)
    query = query or (_text_at(folded, path) if path else _plain_words(params["q"]) if "q" in params else None)
    window = min(how.rank_window_size, _fused(folded.get("retriever")))
    options = Options(query, how.fields, how.template, window, instruction=how.instruction)
    plan = plan_search(folded, options)
    if plan.reason:
        raise Obstacle(_short(plan.reason))
    _check_syntax(folded, plan.query, query)
    _check_fields(folded, plan, params)
    if rule is not None and extension is None and not rule.draws(plan.query):
        raise Obstacle(f"outside the {rule.percent:g} percent of rule {rule.name}")
    name = rule.name if rule is not None else "ext"
    shadow = rule is not None and rule.shadow and extension is None
    depends = "retriever" in folded or _holds_key(folded.get("query"), "hybrid")
    return Decision(rule=name, how=how, plan=plan, shadow=shadow, depends_on_size=depends, body=own)


def _fused(retriever: Any) -> int:
    """Return how many hits a fusion of retrievers ranks; Elasticsearch refuses a `size` beyond that."""
    fusion = next((retriever[name] for name in ("rrf", "linear") if isinstance(retriever, dict) and name in retriever), None)
    window = fusion.get("rank_window_size", 10) if isinstance(fusion, dict) else None
    return window if isinstance(window, int) and window > 0 else 10_000


def _choose(rule: Rule | None, extension: Extension | None) -> tuple[Reranking, str | None, str | None]:
    """Return how to rerank, the query text if given, and the path where it stands; the search's own word wins."""
    if extension is None:
        return rule or Reranking(), None, rule.query_text if rule else None
    named = {name: getattr(extension, name) for name in extension.model_fields_set & Reranking.model_fields.keys()}
    base = {name: getattr(rule, name) for name in Reranking.model_fields} if rule else {}
    if "fields" in named or "template" in named:
        base |= {"fields": (), "template": None}
    return Reranking(**base | named), extension.query, rule.query_text if rule else None


# -- reading -----------------------------------------------------------------------------------------------------------


def _parse(body: bytes) -> Json:
    if not body.strip():
        return {}
    try:
        search = json.loads(body, object_pairs_hook=_without_doubles, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Obstacle(
            "the body is not JSON" if not isinstance(error, RecursionError) else "the search is nested too deep"
        ) from error
    if not isinstance(search, dict):
        raise Obstacle("the body is not a JSON object")
    return search


def _without_doubles(pairs: list[tuple[str, Any]]) -> Json:
    # Engines refuse a key that comes twice; writing the body anew would hide that.
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key comes twice")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _extension(search: Json, rules: Rules) -> Extension | None:
    extensions = search.get("ext")
    if not rules.allow_ext or not isinstance(extensions, dict) or "slimrank" not in extensions:
        return None
    extension = read_extension(extensions.pop("slimrank"))
    if not extensions:
        del search["ext"]
    return extension


def _fold(search: Json, params: Mapping[str, str]) -> Json:
    """Return the body with what the URL says put over it."""
    folded = dict(search)
    for name in ("size", "from"):
        if name in params:
            if not params[name].isascii() or not params[name].isdigit():
                raise Obstacle("size or from is not a whole number")
            folded[name] = int(params[name])
    if "q" in params:
        folded.pop("query", None)
    if "_source" in params:
        value = params["_source"]
        folded["_source"] = value == "true" if value in ("true", "false") else value.split(",")
    if "_source_includes" in params or "_source_excludes" in params:
        folded["_source"] = {"excludes": params.get("_source_excludes", "").split(",")}
    return folded


def _text_at(search: Json, path: str) -> str:
    value: Any = search
    names = path.removeprefix("$.").split(".")
    while names:
        if isinstance(value, list) and names[0].isdigit() and int(names[0]) < len(value):
            value, names = value[int(names[0])], names[1:]
            continue
        # a field's name may hold dots itself
        count = next((n for n in range(len(names), 0, -1) if isinstance(value, dict) and ".".join(names[:n]) in value), 0)
        if not count:
            raise Obstacle("no query text at the rule's path")
        value, names = value[".".join(names[:count])], names[count:]
    if not isinstance(value, str) or not value.strip():
        raise Obstacle("no query text at the rule's path")
    return value


def _plain_words(text: str) -> str:
    words = text.split()
    if any(mark in text for mark in _OPERATORS) or any(word in ("AND", "OR", "NOT") or word[0] in "+-!" for word in words):
        raise Obstacle("the query string has operators")
    if not words:
        raise Obstacle("the search has no query text")
    return text


# -- what stands in the way --------------------------------------------------------------------------------------------


def _check_params(params: Mapping[str, str]) -> None:
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
    """Tell whether a filter_path leaves all of `place`; any exclusion counts as hiding."""
    patterns = filter_path.split(",")
    return not any(pattern.startswith("-") for pattern in patterns) and any(
        _covers(pattern.split("."), place) for pattern in patterns
    )


def _covers(names: Sequence[str], place: Sequence[str]) -> bool:
    if not names:
        return True  # the pattern ends above the place, and so includes it
    if names[0] == "**":
        return len(names) == 1 or any(_covers(names[1:], place[start:]) for start in range(len(place)))
    return bool(place) and names[0] in ("*", place[0]) and _covers(names[1:], place[1:])


def _check_body(search: Json) -> None:
    extensions = search.get("ext")
    if (isinstance(extensions, dict) and "rerank" in extensions) or _holds_key(
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
    if _holds_key(search.get("query"), "hybrid") and start > 0:
        raise Obstacle("a page of a hybrid search")


def _holds_key(value: Any, key: str) -> bool:
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


def _check_syntax(search: Json, text: str, named: str | None) -> None:
    """Refuse a detected text that is written in the query language."""
    if named is None and (
        _holds_key(search.get("query"), "query_string") or _holds_key(search.get("query"), "simple_query_string")
    ):
        _plain_words(text)


def _check_fields(search: Json, plan: RerankPlan, params: Mapping[str, str]) -> None:
    """Refuse where the fields that would be added could not be told from the caller's own."""
    if plan.drop_source:
        raise Obstacle("_source is filtered and the rule names no fields")
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


def _short(reason: str) -> str:
    """Return a plan's reason without what it quotes: it goes into headers and metrics."""
    if " texts, " in reason:
        return "the search has several query texts"
    return "the page lies behind the window" if reason.startswith("the page starts") else reason.split(":")[0]


# -- writing -----------------------------------------------------------------------------------------------------------


def widened_params(params: Params, plan: RerankPlan) -> str:
    """Return the URL's parameters for the whole window."""
    kept = [(name, value) for name, value in params if name not in ("from", "size")]
    return urlencode([*kept, ("from", "0"), ("size", str(max(plan.window, plan.start + plan.size)))])


def widened_body(body: bytes, decision: Decision) -> bytes:
    """Return the body to send with `widened_params`: the caller's own bytes, unless fields have to be added."""
    own = body if decision.body is None else decision.body
    if not decision.plan.added_fields:
        return own
    search = json.loads(own) if own.strip() else {}
    return json.dumps({**search, "fields": decision.plan.body["fields"]}).encode()


def widened_line(body: bytes, decision: Decision) -> bytes:
    """Return the line of an `_msearch`, without its `ext.slimrank`, for the whole window."""
    search = json.loads(body)
    asked = {name: decision.plan.body[name] for name in ("from", "size", "fields") if name in decision.plan.body}
    return json.dumps({**search, **asked}).encode()
