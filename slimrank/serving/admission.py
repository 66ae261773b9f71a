"""Refuse at once what would only wait.

The wait of a new request is estimated as the seconds of work outstanding, here and at the other
gateways, over the workers alive. What a request takes is learnt from answers, a fixed part and one
in proportion to the characters that reach the model, and corrected by how long answers took beside
what was estimated; so nothing is configured, and nothing is refused before the first answer but by
number. ``tests/serving/test_overload.py`` holds the policy to its promise on a virtual clock.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimrank.errors import Overloaded
from slimrank.serving.backend import Answer, Job

MAX_DOCUMENT_CHARACTERS = 2000
"""About what a pair of 512 tokens holds; the rest of a long document costs nothing."""
DOCUMENT_COST = 50
"""What a document costs beyond its text: prompt tokens, in characters."""
_SMOOTHING = 0.2
_CORRECTION_BOUNDS = (1.0, 10.0)
SAFETY = 0.7
"""Part of a request's time that its estimate may fill; the rest is for the way to the caller and for errors of the estimate."""

ELASTIC_SHARE = 0.35
"""Part of its time that a request which takes a partial answer is counted with: half of what ``SAFETY`` leaves."""


def cost_of(job: Job) -> int:
    """Return the cost of a job, in characters."""
    limit = MAX_DOCUMENT_CHARACTERS
    documents = job.request.documents[: job.depth] if isinstance(job.depth, int) else job.request.documents
    return sum(min(len(document), limit) + DOCUMENT_COST for document in documents)


class Speed:
    """How long one model takes: ``fixed + slope * cost`` seconds, by least squares that forget."""

    def __init__(self) -> None:
        self._count = self._cost = self._seconds = self._cost_cost = self._cost_seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Whether anything was learnt yet."""
        return self._count > 0

    def seconds(self, cost: float) -> float:
        """Return the estimated time of a job; 0 before the first."""
        if not self._count:
            return 0.0
        mean_cost, mean_seconds = self._cost / self._count, self._seconds / self._count
        spread = self._cost_cost / self._count - mean_cost**2
        slope = steepest = mean_seconds / max(mean_cost, 1.0)
        if spread > 0.01 * mean_cost**2:  # else the jobs were too alike to tell the parts from each other
            slope = (self._cost_seconds / self._count - mean_cost * mean_seconds) / spread
        # Neither part takes less than nothing.
        return mean_seconds + min(steepest, max(0.0, slope)) * (cost - mean_cost)

    def learn(self, cost: float, seconds: float) -> None:
        """Learn from a job that was scored."""
        keep = 1 - _SMOOTHING / 2
        self._count = keep * self._count + 1
        self._cost = keep * self._cost + cost
        self._seconds = keep * self._seconds + seconds
        self._cost_cost = keep * self._cost_cost + cost * cost
        self._cost_seconds = keep * self._cost_seconds + cost * seconds


@dataclass(frozen=True, slots=True)
class Ticket:
    """What ``admit`` counted for a request, to be given back to ``release``."""

    model: str
    cost: int
    work_seconds: float
    """Estimated time in the model."""
    wait_seconds: float
    """Estimated time to the answer; 0 where nothing is known."""


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
    here: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Their work in seconds, by model."""
    elsewhere: Mapping[str, float] = field(default_factory=dict)
    """The same at the other gateways, as last heard."""
    workers: Counter[str] = field(default_factory=Counter)
    """Workers alive, by model, as last heard."""
    _speeds: dict[str, Speed] = field(default_factory=lambda: defaultdict(Speed))
    _corrections: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 1.0))

    def backlog_seconds(self, model: str) -> float:
        """Return the estimated wait of a new request; 0 before anything was answered."""
        work = self.here[model] + self.elsewhere.get(model, 0.0)
        return self._corrections[model] * max(0.0, work) / max(1, self.workers[model])

    def admit(self, model: str, cost: int, *, timeout_seconds: float, is_elastic: bool = False) -> Ticket:
        """Let a request in; ``release`` must follow.

        Args:
            is_elastic: The request takes as many scores as there is time for, so it fits into half of any time.

        Raises:
            Overloaded: it would wait longer than allowed, or be answered after its deadline.
        """
        work = self._speeds[model].seconds(cost)
        if is_elastic:
            work = min(work, ELASTIC_SHARE * timeout_seconds / self._corrections[model])
        backlog, own = self.backlog_seconds(model), self._corrections[model] * work
        limit = min(self.max_backlog_seconds, SAFETY * timeout_seconds - own)
        # Alone, a request is let in whatever its deadline: the estimate may be wrong, and nobody else is harmed.
        if self.waiting and (backlog > limit or self.waiting >= self.max_waiting):
            raise Overloaded(
                f"{self.waiting} requests wait here, about {backlog:.1f} s of work, and this one may wait {max(0.0, limit):.1f} s;"
                " try again later, send fewer documents, allow more time, or start more workers",
                retry_after_seconds=max(1.0, backlog - limit),
            )
        self.here[model] += work
        self.waiting += 1
        return Ticket(model, cost, work, backlog + own)

    def release(self, ticket: Ticket) -> None:
        """Take back what ``admit`` counted."""
        self.here[ticket.model] -= ticket.work_seconds
        self.waiting -= 1

    def learn(self, ticket: Ticket, answer: Answer) -> None:
        """Learn the speed of one worker from an answer."""
        self._speeds[ticket.model].learn(ticket.cost, answer.infer_seconds)

    def correct(self, ticket: Ticket, taken_seconds: float) -> None:
        """Learn from how long a request took, answered or not, beside its estimate."""
        if ticket.wait_seconds <= 0:
            return
        known = self._corrections[ticket.model]
        wanted = known * taken_seconds / ticket.wait_seconds
        low, high = _CORRECTION_BOUNDS
        self._corrections[ticket.model] = min(high, max(low, (1 - _SMOOTHING) * known + _SMOOTHING * wanted))
