"""Queries that follow an index's real mapping: text is analysed, so a ``term`` with capitals finds nothing in it."""

import re
from typing import Any

from slimrank.types import Json
from tests.connector.fake_gateway import Refused


def matches(query: Json, id: str, source: Json, properties: Json) -> bool:
    """Tell whether a document matches a query in an index with these mapped properties."""
    ((kind, clause),) = query.items()
    if kind == "match_all":
        return True
    if kind == "ids":
        return id in clause["values"]
    ((path, wanted),) = clause.items()
    tokens, are_analysed = _tokens(source, path, properties)
    asked = _analysed(str(wanted)) if are_analysed else [str(wanted)]
    match kind:
        case "term":
            return str(wanted) in tokens
        case "match":
            return any(word in tokens for word in asked)
        case "match_phrase":
            return any(tokens[place : place + len(asked)] == asked for place in range(len(tokens)))
    raise Refused(400, f"unknown query [{kind}]", "parsing_exception")


def _tokens(source: Json, path: str, properties: Json) -> tuple[list[str], bool]:
    """Return the indexed tokens of a field, and whether the field was analysed."""
    name, _, sub = path.partition(".")
    mapping: Json = properties.get(name, {})
    mapping = mapping.get("fields", {}).get(sub, {}) if sub else mapping
    value: Any = source.get(name)
    if value is None or not mapping:
        return [], False
    is_text = mapping.get("type") == "text"
    return (_analysed(str(value)) if is_text else [str(value)]), is_text


def _analysed(text: str) -> list[str]:
    """Split a text like the standard analyser."""
    return re.findall(r"\w+", text.lower())
