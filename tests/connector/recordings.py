"""Answers of real engines, stored as JSON files in recorded/."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "recorded"


@cache
def recorded(name: str) -> Any:
    """Read recorded/NAME.json."""
    return json.loads((_FOLDER / f"{name}.json").read_text())
