"""The result type of all checks of an installation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``cure`` says what to do if something is wrong; ``rows`` are the rows of a table below it."""

    name: str
    state: Literal["ok", "warning", "fault"]
    words: str
    cure: str = ""
    rows: Sequence[dict[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON; ``rows`` is left out if it is empty."""
        return {name: value for name, value in asdict(self).items() if name != "rows" or value}
