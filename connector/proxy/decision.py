"""Decide what happens to one search: it is passed on with a reason, or reranked by a rule with a plan. Pure: sends nothing.

Parameters in the URL (``q``, ``size``, ``from``, ``sort``, ``_source``, ...) override the body, as in the engines.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from connector.proxy.obstacles import Obstacle, check_body, check_fields, check_params, short
from connector.proxy.rules import Extension, Reranking, Rule, Rules, read_extension
from connector.proxy.splice import without_extension
from connector.rerank_plan import Options, RerankPlan, plan_search
from slimrank.errors import InvalidRequest
from slimrank.types import Json

Params = list[tuple[str, str]]

_NOTHING, _NO_PLAN = Reranking(), RerankPlan({})


@dataclass(frozen=True, slots=True)
class Target:
    """The content of a request's path: the index names, and whether the request holds one search or many."""

    indices: str
    many: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one search.

    Attributes:
        reason: Why the search is passed on; empty if it is reranked.
        rule: The rule's name, or "ext".
        how: The depth, the deadline and the instruction.
        shows_first_stage: Whether reranked hits get their first-stage score and rank. They do not if filter_path selects fields.
        body: The body without ``ext.slimrank``; None if the body had none.
    """

    reason: str = ""
    rule: str = ""
    how: Reranking = _NOTHING
    plan: RerankPlan = _NO_PLAN
    shadow: bool = False
    shows_first_stage: bool = True
    body: bytes | None = None


def target_of(path: bytes) -> Target | None:
    """Return the target of a path; None if the path is not ``_search`` or ``_msearch``."""
    parts = path.decode("latin-1").strip("/").split("/")
    if parts[-1] not in ("_search", "_msearch") or len(parts) > 2:
        return None
    indices = unquote(parts[0]) if len(parts) == 2 else ""
    if indices.startswith("_") and indices != "_all":
        return None
    return Target(indices, parts[-1] == "_msearch")


def target_for(indices: str) -> bytes:
    """Return the path that searches ``indices``."""
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
    if extension is not None:  # a search may shorten the deadline of its rule, but not extend it
        most = rule.deadline_ms if rule else rules.max_deadline_ms
        how = how.model_copy(update={"deadline_ms": min(how.deadline_ms, most)})
    check_params(params)
    folded = _fold(search, params)
    check_body(folded)
    query = query or (_text_at(folded, path) if path else None)
    options = Options(query, how.fields, how.template, how.rank_window_size, how.highlight, instruction=how.instruction)
    plan = plan_search(folded, options)
    if plan.reason:
        raise Obstacle(short(plan.reason))
    check_fields(folded, plan, params)
    if rule is not None and extension is None and not rule.draws(plan.query):
        raise Obstacle(f"outside the {rule.percent:g} percent of rule {rule.name}")
    name = rule.name if rule is not None else "ext"
    shadow = rule is not None and rule.shadow and extension is None
    return Decision(rule=name, how=how, plan=plan, shadow=shadow, shows_first_stage="filter_path" not in params, body=own)


def _choose(rule: Rule | None, extension: Extension | None) -> tuple[Reranking, str | None, str | None]:
    """Return how to rerank, the query text if it is given, and the path of the query text; the extension overrides the rule."""
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
    # Engines refuse a duplicate key; writing the body again would hide it.
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
    """Return the body with the URL's parameters merged into it."""
    folded = dict(search)
    for name in ("size", "from"):
        if name in params:
            if not params[name].isascii() or not params[name].isdigit():
                raise Obstacle("size or from is not a whole number")
            folded[name] = int(params[name])
    if "q" in params:
        folded["query"] = {"query_string": {"query": params["q"], "default_field": params.get("df", "")}}
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
        # the name of a field may itself contain dots
        count = next((n for n in range(len(names), 0, -1) if isinstance(value, dict) and ".".join(names[:n]) in value), 0)
        if not count:
            raise Obstacle("no query text at the rule's path")
        value, names = value[".".join(names[:count])], names[count:]
    if not isinstance(value, str) or not value.strip():
        raise Obstacle("no query text at the rule's path")
    return value


# -- writing -----------------------------------------------------------------------------------------------------------


def widened_params(params: Params, plan: RerankPlan) -> str:
    """Return the URL's parameters that request the whole window."""
    kept = [(name, value) for name, value in params if name not in ("from", "size")]
    return urlencode([*kept, *((name, str(plan.body[name])) for name in ("from", "size"))])


def widened_body(body: bytes, decision: Decision) -> bytes:
    """Return the body to send with ``widened_params``: the caller's bytes, unless fields have to be added."""
    own = body if decision.body is None else decision.body
    added = _added(decision.plan)
    if not added:
        return own
    search = json.loads(own) if own.strip() else {}
    return json.dumps({**search, **added}).encode()


def widened_line(body: bytes, decision: Decision) -> bytes:
    """Return the line of an ``_msearch`` that requests the whole window, without ``ext.slimrank``."""
    search = json.loads(body)
    asked = {name: decision.plan.body[name] for name in ("from", "size")}
    return json.dumps({**search, **asked, **_added(decision.plan)}).encode()


def _added(plan: RerankPlan) -> Json:
    parts = [("fields", plan.added_fields), ("highlight", plan.added_highlights)]
    return {name: plan.body[name] for name, added in parts if added}
