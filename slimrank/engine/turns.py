"""Whose job is scored next: callers take turns by the time they have had, and the jobs of one caller by a second each.

No caller can make the others wait: whoever has had the least of the model goes first, however many jobs another has sent. A caller
who comes back after a pause has saved nothing up. Of one caller's jobs the first goes first, until it has had its second; then
it stands behind those that came meanwhile. So one large job holds up no small ones, and jobs of ordinary size end in the order they came.
Decides alone, by the seconds that it is told; ``scoring_loop`` measures them.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

QUANTUM_SECONDS = 1.0
"""What a job may have before the caller's other jobs come first."""
MOST_IDLE = 1000
"""Callers without a job of whom it is known what they had."""

One = TypeVar("One")


@dataclass(slots=True)
class _Line(Generic[One]):
    """The jobs of one caller."""

    had_seconds: float
    """Of the model, all in all; not less than what the others had when the caller came back."""
    jobs: deque[tuple[One, float]] = field(default_factory=deque)
    """With what each has had since it last stood behind the others."""


class Turns(Generic[One]):
    """Jobs that wait, by caller. Used under the lock of whoever owns it."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line[One]] = {}
        self._level = 0.0
        """What the caller had who was served last: newcomers begin there."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return any(line.jobs for line in self._lines.values())

    def add(self, caller: str, job: One) -> None:
        """Let a new job wait."""
        line = self._lines.setdefault(caller, _Line(self._level))
        if not line.jobs:
            line.had_seconds = max(line.had_seconds, self._level)
        line.jobs.append((job, 0.0))

    def peek(self) -> One | None:
        """Return the job that is next, and leave it there."""
        line = self._next()
        return line.jobs[0][0] if line else None

    def pop(self) -> tuple[One, float]:
        """Take the job that is next, with what it has had of its second; ``charge`` must follow."""
        line = self._next()
        if line is None:
            raise IndexError("no job waits")
        self._level = line.had_seconds
        return line.jobs.popleft()

    def charge(self, caller: str, seconds: float) -> None:
        """Count what a job of a caller has had of the model."""
        if (line := self._lines.get(caller)) is not None:
            line.had_seconds += seconds
        self._forget()

    def give_back(self, caller: str, job: One, had_seconds: float) -> None:
        """Let a job go on waiting that has had a turn: in its place, or behind the caller's others once it had its second."""
        line = self._lines.setdefault(caller, _Line(self._level))
        if had_seconds < QUANTUM_SECONDS:
            line.jobs.appendleft((job, had_seconds))
        else:
            line.jobs.append((job, 0.0))

    def _next(self) -> _Line[One] | None:
        waiting = (line for line in self._lines.values() if line.jobs)
        return min(waiting, key=lambda line: line.had_seconds, default=None)  # ties: who came first

    def _forget(self) -> None:
        """Drop what need not be known: all once nobody waits, else callers without a job who had no more than others, or came long ago."""
        idle = [caller for caller, line in self._lines.items() if not line.jobs]
        if len(idle) == len(self._lines):
            self._lines, self._level = {}, 0.0
            return
        kept = [caller for caller in idle if self._lines[caller].had_seconds > self._level][-MOST_IDLE:]
        for caller in set(idle) - set(kept):
            del self._lines[caller]
