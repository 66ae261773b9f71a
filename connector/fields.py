"""The text of a hit: which fields a reranker reads, and how their values are joined.

Values come from ``_source``, or from ``fields`` and ``highlight`` if the plan asked for those. A missing field is empty. The
values of a list are joined by spaces, the fields by line breaks. A template can put words around the fields.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from slimrank.errors import ConfigError
from slimrank.types import Json

_PLACEHOLDER = re.compile(r"\{([\w.@-]+)\}")
FRAGMENT_JOINT = " ... "
MAX_DOCUMENT_CHARACTERS = 32_768
"""Longer documents are cut before they are sent. No model reads that much, and a field of 2 MB would be sent for nothing."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a hit becomes a document.

    Attributes:
        fields: Dotted names. If empty, all top-level strings of the hit are read.
        text: A text with ``{field}`` placeholders. A line that is blank because its fields are missing is dropped.
        fragments: The fields that are read from the hit's ``highlight``, if the engine highlighted them.
    """

    fields: tuple[str, ...] = ()
    text: str | None = None
    fragments: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Sequence[str] = (), text: str | None = None) -> "Template":
        """Make a template from fields, or from a text whose placeholders name the fields.

        Raises:
            ConfigError: both were given, or the text has no placeholder.
        """
        if text is None:
            return cls(tuple(fields))
        if fields:
            raise ConfigError("give fields or a template, not both: a template names its fields, as in '{title}: {body}'")
        names = tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))
        if not names:
            raise ConfigError(f"the template {text!r} names no field; write one in braces, as in '{{title}}: {{body}}'")
        return cls(names, text)

    def render(self, hit: Json) -> str:
        """Return the text of a hit."""
        return self._render(hit)[:MAX_DOCUMENT_CHARACTERS]

    def _render(self, hit: Json) -> str:
        if not self.fields:
            return "\n".join(_all_strings(hit.get("_source") or {}))
        values = {name: self._value(hit, name) for name in self.fields}
        if self.text is None:
            return "\n".join(value for value in values.values() if value)
        filled = [(_PLACEHOLDER.sub(lambda found: values[found[1]], line), line) for line in self.text.split("\n")]
        return "\n".join(
            text
            for text, line in filled
            if not _PLACEHOLDER.search(line) or any(values[name] for name in _PLACEHOLDER.findall(line))
        )

    def _value(self, hit: Json, name: str) -> str:
        found = (hit.get("highlight") or {}).get(name) if name in self.fragments else None
        return FRAGMENT_JOINT.join(found) if found else field_text(hit, name)


def _all_strings(source: Json) -> Iterator[str]:
    for value in source.values():
        if text := _join(value if isinstance(value, str | list) else None):
            yield text


def field_text(hit: Json, name: str) -> str:
    """Return one field of a hit as text; a sub-field such as title.english is read from its parent field."""
    for source in (hit.get("fields") or {}, hit.get("_source") or {}):
        path = name
        while path:
            if text := _join(_lookup(source, path)):
                return text
            path = path.rpartition(".")[0]
    return ""


def _lookup(value: Any, path: str) -> Any:
    """Follow a dotted path through objects and lists; a key may itself hold dots."""
    if isinstance(value, list):
        return [found for entry in value if (found := _lookup(entry, path)) is not None]
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    head, _, tail = path.partition(".")
    while tail:
        if head in value:
            return _lookup(value[head], tail)
        more, _, tail = tail.partition(".")
        head = f"{head}.{more}"
    return None


def _join(value: Any) -> str:
    match value:
        case str():
            return value.strip()
        case bool() | int() | float():
            return str(value)
        case list():
            return " ".join(text for entry in value if (text := _join(entry)))
        case _:
            return ""


def matches(name: str, patterns: Sequence[Any]) -> bool:
    """Tell whether a list of names and wildcards, as in ``fields`` and ``_source``, includes a field."""
    names = [pattern.get("field", "") if isinstance(pattern, dict) else str(pattern) for pattern in patterns]
    return any(fnmatchcase(name, pattern) or name.startswith(pattern + ".") for pattern in names)
