"""Find differences in the configuration of the two sides: query, engine, settings, mappings, analysis, shards.

Each difference says whether it can change a ranking. Harmless differences are listed, but never named as a cause.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from connector.audit.ask.fields import compared_fields, under
from connector.audit.ask.state import is_harmless
from connector.audit.spec import Side, Spec
from slimrank.types import Json

Where = Literal["query", "engine", "settings", "analysis", "mapping", "shards", "deleted documents", "pipeline"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the sides differ; a value is None if it is absent."""

    where: Where
    path: str
    before: Any
    after: Any
    harmless: bool = False


def find_differences(spec: Spec, before: Json, after: Json) -> list[Difference]:
    """Return all differences between two states (``state.read_state``) and between the sides' queries."""
    a, b = only_index(before), only_index(after)
    found = list(_query_differences(spec.before, spec.after))
    for name in ("distribution", "version"):
        if before[name] != after[name]:
            found.append(Difference("engine", name, before[name], after[name]))
    found += [
        Difference("query", f"ranker {path}".strip(), *pair) for path, *pair in changes(before.get("ranker"), after.get("ranker"))
    ]
    found += [Difference("pipeline", *change) for change in changes(before["pipeline"], after["pipeline"])]
    for path, old, new in changes(a["settings"], b["settings"]):
        where: Where = "analysis" if path.startswith("index.analysis.") else "settings"
        if path != "index.number_of_shards":
            found.append(Difference(where, path, old, new, is_harmless(path)))
    fields = compared_fields(spec)
    for path, old, new in changes(_by_field(a["mappings"]), _by_field(b["mappings"])):
        found.append(Difference("mapping", path, old, new, not under(path.partition(" ")[0], fields) and path != "dynamic"))
    if a["shards"] != b["shards"]:
        found.append(Difference("shards", "primary shards", a["shards"], b["shards"]))
    if a["deleted"] != b["deleted"]:
        found.append(Difference("deleted documents", "deleted, but not yet merged away", a["deleted"], b["deleted"]))
    return found


def value_in_words(value: Any) -> str:
    """Return a setting's value as engines write it: text unchanged, other values as JSON, and None as "not set"."""
    if isinstance(value, dict):
        value = {key: part for key, part in value.items() if part is not None}
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def only_index(state: Json) -> Json:
    """Return the index of a side; if an alias has several, return the first with the counts of all."""
    indices = list(state["indices"].values())
    if len(indices) == 1:
        return dict(indices[0])
    sums = {name: sum(index[name] for index in indices) for name in ("documents", "deleted", "shards")}
    return {**indices[0], **sums}


def index_name(state: Json) -> str:
    """Return the real name of a side's (first) index."""
    return str(next(iter(state["indices"])))


def _query_differences(before: Side, after: Side) -> Iterator[Difference]:
    for name in ("fields", "body", "pipeline", "search_type", "rerank"):
        old, new = getattr(before, name), getattr(after, name)
        if name == "rerank":
            old, new = (side.model_dump(mode="json") if side else None for side in (old, new))
        if old != new:
            for path, was, now in changes(old, new):
                yield Difference("query", f"{name} {path}".strip(), was, now)


def _by_field(mappings: Json, prefix: str = "") -> Json:
    """Return field path -> parameters of the field; multi-fields and inner fields have their own paths."""
    found: Json = {} if prefix else {name: value for name, value in mappings.items() if name not in ("properties", "_meta")}
    for name, mapping in mappings.get("properties", {}).items():
        path = f"{prefix}{name}"
        found[path] = {key: value for key, value in mapping.items() if key not in ("properties", "fields")}
        found |= _by_field(mapping, f"{path}.")
        found |= _by_field({"properties": mapping.get("fields", {})}, f"{path}.")
    return found


def changes(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, before and after of every leaf that differs between two JSON values; lists are leaves."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from changes(before.get(key), after.get(key), f"{path} {key}".strip())
    elif before != after:
        yield path, before, after
