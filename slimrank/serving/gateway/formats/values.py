"""Values as clients really send them: the one place where a field's type is read liberally.

`"true"`, `"1"` and `1.0` mean what they say; `null` is a field left out (``fields.Body``). What could mean two things
stays an error: `true` is no number, and `1.5` no count.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
MOST = 2**63 - 1
"""The largest number that is read: more than any caller means, and small enough for arithmetic."""
_DIGITS = len(str(MOST))
# Said in the description only: the check, with its own words, is `check_request`.
NOT_BLANK: dict[str, JsonValue] = {"pattern": "\\S"}
NOT_EMPTY: dict[str, JsonValue] = {"minItems": 1}


def any_case(*words: str) -> dict[str, JsonValue]:
    """Return the schema of one of these words, whatever its capitals."""
    either = "|".join("".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word) for word in words)
    return {"type": "string", "pattern": f"^({either})$"}


def lower(value: Any) -> Any:
    """Return a word in small letters, anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def _flag(value: Any) -> Any:
    if isinstance(value, str):
        return _FLAGS.get(value.lower(), value)
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    is_digits = isinstance(value, str) and len(value) <= _DIGITS and re.fullmatch(r"-?[0-9]+", value)
    return int(value) if is_digits else value


def _text(value: Any) -> Any:
    """Return the text of `{"text": ...}`, as multimodal formats write a query, anything else as it is."""
    return value["text"] if isinstance(value, dict) and isinstance(value.get("text"), str) else value


def _whole_schema(least: int, most: int) -> WithJsonSchema:
    number: JsonValue = {"type": "integer", "minimum": least, "maximum": most}
    digits = "^0*[1-9][0-9]*$" if least == 1 else "^[0-9]+$" if least == 0 else "^-?[0-9]+$"
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": digits, "maxLength": _DIGITS}]})


Flag = Annotated[
    bool, BeforeValidator(_flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, any_case(*_FLAGS)]})
]
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=-MOST, le=MOST), _whole_schema(-MOST, MOST)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST), _whole_schema(1, MOST)]
Rank = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=2**31 - 1), _whole_schema(1, 2**31 - 1)]
Offset = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=2**31 - 1), _whole_schema(0, 2**31 - 1)]
Query = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"} | NOT_BLANK,
                {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"} | NOT_BLANK}},
            ]
        }
    ),
]
