"""The calls that slimrank sends to a cluster, stored as JSON files in contract/ and compared completely."""

import json
from pathlib import Path
from typing import Any

from connector.cluster import Call

_FOLDER = Path(__file__).parent / "contract"


def contract(name: str) -> Any:
    """Read contract/NAME.json."""
    return json.loads((_FOLDER / f"{name}.json").read_text())


def as_contract(calls: list[Call]) -> list[dict[str, Any]]:
    """Return calls in the form of the contract files."""
    return [{"call": f"{call.method} {call.path}"} | ({"body": call.body} if call.body is not None else {}) for call in calls]
