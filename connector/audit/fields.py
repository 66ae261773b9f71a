"""Which fields a side's query looks at: the only ones whose content and analysis can change its ranking.

Read off the query as written. A wildcard, or a query that names no field, may look at anything: None.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from connector.audit.spec import Side, Spec

_BY_FIELD = {
    "match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "term", "terms", "prefix", "range", "wildcard", "fuzzy",
    "regexp", "knn", "neural", "distance_feature", "rank_feature", "span_term",
}  # fmt: skip


def searched_fields(side: Side) -> list[str] | None:
    """Return the fields of a side's query, sorted, without boosts; None where they cannot be told."""
    named = set(side.fields or ()) | set(_named(side.body or {})) | set(side.rerank.fields if side.rerank else ())
    fields = sorted({name.partition("^")[0] for name in named})
    return None if not fields or any("*" in name for name in fields) else fields


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _named(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _BY_FIELD and isinstance(value, dict):
                yield from (name for name in value if name != "boost")
            elif key == "fields" and isinstance(value, list):
                yield from (name for name in value if isinstance(name, str))
            elif key in ("field", "default_field") and isinstance(value, str):
                yield value
            yield from _named(value)


def compared_fields(spec: Spec) -> list[str] | None:
    """Return the fields of either side whose content counts, the multi-fields' parents included; None for all."""
    sides = [searched_fields(spec.before), searched_fields(spec.after)]
    found = {name for fields in sides if fields is not None for name in fields}
    return None if None in sides else sorted(found)


def shown_fields(spec: Spec) -> list[str] | None:
    """Return the fields that judges and readers see."""
    named = [name.partition("^")[0] for name in spec.before.fields or ()]
    return spec.text_fields or (named if named and not any("*" in name for name in named) else compared_fields(spec))


def under(path: str, fields: Sequence[str] | None) -> bool:
    """Tell whether a field of _source is one of `fields`, holds one (`title` of `title.exact`), or lies within one."""
    return fields is None or any(path == name or name.startswith(f"{path}.") or path.startswith(f"{name}.") for name in fields)
