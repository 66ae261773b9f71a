"""What a look at an installation found: shared by the checks and their printing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `cure` says what to do, where something is wrong."""

    name: str
    state: Literal["ok", "warning", "fault"]
    words: str
    cure: str = ""
