"""Choose whose job is scored next: callers take turns by the time they have used, the jobs of one caller by a second each.

No caller can make the others wait: whoever has had the least of the model goes first, however many jobs another has sent. A caller
who comes back after a pause has saved nothing up. Of one caller's jobs the first goes first, until it has had its second; then
it stands behind those that came meanwhile. So one large job holds up no small ones, and jobs of ordinary size end in the order they came.
It measures no time itself: ``scoring_loop`` tells it the seconds.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

QUANTUM_SECONDS = 1.0
"""The time that a job may use before the other jobs of its caller come first."""
MOST_IDLE = 1000
"""The most callers without a job whose used time is remembered."""

One = TypeVar("One")


@dataclass(slots=True)
class _Line(Generic[One]):
    """The jobs of one caller."""

    had_seconds: float
    """The model's time that this caller used in all; at least what the others had used when the caller came back."""
    jobs: deque[tuple[One, float]] = field(default_factory=deque)
    """Each job with the time that it used since it last went to the end."""


class Turns(Generic[One]):
    """The jobs that wait, by caller. The owner must hold its own lock when it calls a method."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line[One]] = {}
        self._level = 0.0
        """The used time of the caller who was served last: a new caller begins with it."""

    def __bool__(self) -> bool:
        """Return whether a job waits."""
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
        """Take the next job, with the part of its second that it has used; ``charge`` must follow."""
        line = self._next()
        if line is None:
            raise IndexError("no job waits")
        self._level = line.had_seconds
        return line.jobs.popleft()

    def charge(self, caller: str, seconds: float) -> None:
        """Count the model's time that a job of a caller used."""
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
        """Forget used times that no longer matter: all of them if no job waits; otherwise those of callers without a job who used no more
        than the others, or who came long ago.
        """
        idle = [caller for caller, line in self._lines.items() if not line.jobs]
        if len(idle) == len(self._lines):
            self._lines, self._level = {}, 0.0
            return
        kept = [caller for caller in idle if self._lines[caller].had_seconds > self._level][-MOST_IDLE:]
        for caller in set(idle) - set(kept):
            del self._lines[caller]
