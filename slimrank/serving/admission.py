"""Refuse at once what would only wait.

The wait of a new request is estimated as the cost of what is outstanding, here and at the other
gateways, over the speed at which workers have been answering. Cost is counted in characters that
reach the model; speed is learnt from answers, and corrected by how long answers took beside what
was estimated, so nothing is configured and nothing is refused before the first answer but by number.
"""

from collections import Counter
from dataclasses import dataclass, field

from slimrank.errors import Overloaded
from slimrank.serving.backend import Answer, Job

MAX_DOCUMENT_CHARACTERS = 2000
"""About what a pair of 512 tokens holds; the rest of a long document costs nothing."""
DOCUMENT_COST = 50
"""What a document costs beyond its text: prompt tokens, in characters."""
_SMOOTHING = 0.2
_CORRECTION_BOUNDS = (1.0, 10.0)
SAFETY = 0.8
"""Part of a request's time that its estimate may fill."""


def cost_of(job: Job) -> int:
    """Return the cost of a job, in characters."""
    limit = MAX_DOCUMENT_CHARACTERS
    return sum(min(len(document), limit) + DOCUMENT_COST for document in job.request.documents)


@dataclass(slots=True)
class Admission:
    """Counts what is outstanding, model by model, and says when it is too much.

    Args:
        max_backlog_seconds: Longest estimated wait of a request that is let in.
        max_waiting: Most requests outstanding here.
    """

    max_backlog_seconds: float
    max_waiting: int
    waiting: int = 0
    """Requests let in here that are not yet answered."""
    here: Counter[str] = field(default_factory=Counter)
    """Their cost, by model."""
    elsewhere: Counter[str] = field(default_factory=Counter)
    """The same at the other gateways, as last heard."""
    workers: Counter[str] = field(default_factory=Counter)
    """Workers alive, by model, as last heard."""
    _speeds: dict[str, float] = field(default_factory=dict)
    _corrections: dict[str, float] = field(default_factory=dict)

    def backlog_seconds(self, model: str) -> float:
        """Return the estimated wait of a new request; 0 before anything was answered."""
        return self._seconds(model, (self.here[model] + self.elsewhere[model]) / max(1, self.workers[model]))

    def _seconds(self, model: str, cost: float) -> float:
        return self._corrections.get(model, 1.0) * cost / self._speeds[model] if model in self._speeds else 0.0

    def admit(self, model: str, cost: int, *, timeout_seconds: float) -> float:
        """Let a request in; ``release`` must follow.

        Returns:
            The estimated time to its answer, seconds; 0 where nothing is known.

        Raises:
            Overloaded: it would wait longer than allowed, or be answered after its deadline.
        """
        backlog, own = self.backlog_seconds(model), self._seconds(model, cost)
        limit = min(self.max_backlog_seconds, SAFETY * timeout_seconds - own)
        # Alone, a request is let in whatever its deadline: the estimate may be wrong, and nobody else is harmed.
        if self.waiting and (backlog > limit or self.waiting >= self.max_waiting):
            raise Overloaded(
                f"{self.waiting} requests wait here, about {backlog:.1f} s of work, and this one may wait {max(0.0, limit):.1f} s;"
                " try again later, send fewer documents, allow more time, or start more workers",
                retry_after_seconds=max(1.0, backlog - limit),
            )
        self.here[model] += cost
        self.waiting += 1
        return backlog + own

    def release(self, model: str, cost: int) -> None:
        """Take back what ``admit`` counted."""
        self.here[model] -= cost
        self.waiting -= 1

    def learn(self, model: str, cost: int, answer: Answer) -> None:
        """Learn the speed of one worker from an answer."""
        speed = cost / max(answer.infer_seconds, 1e-4)
        known = self._speeds.get(model, speed)
        self._speeds[model] = (1 - _SMOOTHING) * known + _SMOOTHING * speed

    def correct(self, model: str, estimated_seconds: float, taken_seconds: float) -> None:
        """Learn from how long a request took, answered or not, beside its estimate."""
        if estimated_seconds <= 0:
            return
        known = self._corrections.get(model, 1.0)
        wanted = known * taken_seconds / estimated_seconds
        low, high = _CORRECTION_BOUNDS
        self._corrections[model] = min(high, max(low, (1 - _SMOOTHING) * known + _SMOOTHING * wanted))


class Speed:
    """How fast one model has been, to tell beforehand whether a job can end in time."""

    def __init__(self) -> None:
        self._cost_per_second: float | None = None

    def seconds(self, job: Job) -> float:
        """Return the estimated time of a job; 0 before the first."""
        return cost_of(job) / self._cost_per_second if self._cost_per_second else 0.0

    def learn(self, job: Job, seconds: float) -> None:
        """Learn from a job that was scored."""
        speed = cost_of(job) / max(seconds, 1e-4)
        known = self._cost_per_second or speed
        self._cost_per_second = (1 - _SMOOTHING) * known + _SMOOTHING * speed
