"""A request body's bytes as a plain object, in bounded time and memory; what its fields mean is ``schemas``' affair.

A body of a few megabytes can hold millions of values, each of which costs more to make than its bytes, so values are
counted before any is made.
"""

import json
import re
from typing import Any

from pydantic_core import from_json

from slimrank.errors import InvalidRequest

VALUES_PER_DOCUMENT = 100
"""The most values of a body for each allowed document: a body with whole hits and their vectors is refused."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
_LONGEST_NUMBER = 10**18


def read_object(body: bytes, *, max_documents: int) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        InvalidRequest: the body is not JSON (400), not an object (422), or holds too many values (413).
    """
    most = VALUES_PER_DOCUMENT * max_documents
    if len(body) > most and not _has_at_most(body, most):
        raise InvalidRequest(
            f"the body holds more than {most} values; send the texts to be judged, and no other fields of the documents",
            status=413,
        )
    try:
        value = from_json(body)
    except ValueError:
        value = _with_lone_surrogates(body)
    if not isinstance(value, dict):
        raise InvalidRequest(f"the body should be an object, found {kind_of(value)}", status=422)
    return value


def kind_of(value: object) -> str:
    """Return what a value is, in the words of JSON, and a number itself."""
    kind = "null" if value is None else _NAMES.get(type(value), type(value).__name__)
    if not isinstance(value, int | float):
        return kind
    return f"{kind} ({value})" if isinstance(value, float) or abs(value) < _LONGEST_NUMBER else "a very large number"


def _has_at_most(body: bytes, most: int) -> bool:
    if _marks(body) <= most:
        return True  # as nearly always: text has a comma every dozen words
    # Quotes first, so that the pieces between strings are not too many to look at.
    return body.count(b'"') - body.count(b'\\"') <= 2 * most and _marks(_STRING.sub(b"", body)) <= most


def _marks(text: bytes) -> int:
    """Return how many values there are at most: each but the first follows one of these."""
    return sum(map(text.count, (b",", b"[", b"{")))


def _with_lone_surrogates(body: bytes) -> Any:
    """Read what a strict reader refuses: lone surrogates are not Unicode but are legal JSON, and engines hold such texts."""
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        return from_json(_ESCAPE.sub(_mended, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}; send an object with `query` and `documents`") from error


def _mended(escape: re.Match[str]) -> str:
    return "\\ufffd" if len(escape[0]) == len("\\ud800") else escape[0]
