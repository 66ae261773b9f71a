"""JSON with numbers as every search engine reads them.

OpenSearch's parser casts a score to Double: an integer, more than 18 characters or an exponent
fails the whole search. So floats are written in fixed notation, always with a decimal point, with
at most 15 decimals and at most 18 characters; there is no NaN. Documents that are given back are no
scores and keep their numbers (``AsSent``).
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import pydantic_core

MAX_CHARACTERS = 18
MAX_DECIMALS = 15
_LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class AsSent:
    """A value of a caller's, given back with its numbers as they are; NaN, which is no JSON, becomes null."""

    value: Any


def fixed(number: float) -> str:
    """Return a float in fixed notation.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(number):
        raise ValueError(f"{number} has no JSON form")
    bounded = min(max(number, -_LARGEST), _LARGEST)
    whole = len(f"{abs(int(bounded))}") + (bounded < 0)
    text = f"{bounded:.{min(MAX_DECIMALS, MAX_CHARACTERS - 2 - whole)}f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def to_json(value: Any) -> str:
    """Return compact JSON of dicts, lists, strings, numbers, booleans and None, in ASCII but for what is ``AsSent``."""
    if isinstance(value, float):
        return fixed(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, AsSent):
        return pydantic_core.to_json(value.value, inf_nan_mode="null").decode()
    return json.dumps(value)
