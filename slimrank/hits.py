"""A value of a hit's ``_source``, by the dotted name that an engine's mapping gives its field. Asks no engine."""

from collections.abc import Mapping
from typing import Any


def value_at(source: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, which may be nested or a name with dots, or None."""
    if path in source:
        return source[path]
    head, _, rest = path.partition(".")
    inner = source.get(head)
    return value_at(inner, rest) if rest and isinstance(inner, dict) else None
