"""What a look at an installation found: shared by the checks and their printing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `cure` says what to do, where something is wrong, and `rows` are what a table below it shows."""

    name: str
    state: Literal["ok", "warning", "fault"]
    words: str
    cure: str = ""
    rows: Sequence[dict[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding for a program; rows are there only where there are any."""
        return {name: value for name, value in asdict(self).items() if name != "rows" or value}
