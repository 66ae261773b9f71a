"""Find the fields that a side's query searches: only their content and analysis can change its ranking.

The fields are read from the query. With a wildcard, or if the query names no field, they are unknown: None.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from connector.audit.spec import Side, Spec

_BY_FIELD = {
    "match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "term", "terms", "prefix", "range", "wildcard", "fuzzy",
    "regexp", "knn", "neural", "distance_feature", "rank_feature", "span_term",
}  # fmt: skip


def searched_fields(side: Side) -> list[str] | None:
    """Return the fields of a side's query, sorted, without boosts; None if they are unknown."""
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
    """Return the fields whose content counts on either side, including the parents of multi-fields; None means all fields."""
    sides = [searched_fields(spec.before), searched_fields(spec.after)]
    found = {name for fields in sides if fields is not None for name in fields}
    return None if None in sides else sorted(found)


def shown_fields(spec: Spec) -> list[str] | None:
    """Return the fields that judges and readers of the report see."""
    named = [name.partition("^")[0] for name in spec.before.fields or ()]
    return spec.text_fields or (named if named and not any("*" in name for name in named) else compared_fields(spec))


def under(path: str, fields: Sequence[str] | None) -> bool:
    """Tell whether a field of ``_source`` is one of ``fields``, contains one (``title`` contains ``title.exact``), or lies in
    one."""
    return fields is None or any(path == name or name.startswith(f"{path}.") or path.startswith(f"{name}.") for name in fields)
