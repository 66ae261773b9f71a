"""Refuse at once what would only wait.

The wait of a new request is estimated from the seconds of work outstanding, here and at the other
gateways, over the workers alive, in the order in which workers take it (``turns``): callers share a worker's time, so what another
caller has outstanding counts only as far as this one's own does, and a caller who sends too much refuses himself and nobody else.
What a request takes is learnt from answers, a fixed part and one
in proportion to the characters that reach the model, and corrected by how long answers took beside
what was estimated; so nothing is configured, and nothing is refused before the first answer but by
number. ``tests/serving/test_overload.py`` holds the policy to its promise on a virtual clock.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slimrank.engine.cost import Speed
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.turns import QUANTUM_SECONDS
from slimrank.errors import Overloaded

MAX_DOCUMENT_CHARACTERS = 2000
"""About what a pair of 512 tokens holds; the rest of a long document costs nothing."""
PASSAGES_CHARACTERS = 2**17
"""The same of a document that is split into passages."""
CHARACTERS_PER_TOKEN = 4
DOCUMENT_COST = 50
"""The cost of a document beyond its text: the prompt's tokens, in characters."""
DOCUMENTS_OF_A_UNIT = 100
"""The number of documents for which a key is charged one request."""
_SMOOTHING = 0.2
_CORRECTION_BOUNDS = (1.0, 10.0)
SLICE_SECONDS = 0.3
"""The time of a worker's slice of another caller's work; a time much shorter than it does not test an estimate."""
SAFETY = 0.7
"""The share of a request's time that its estimate may fill; the rest is for the way to the caller and for errors of the estimate."""
MOST_SECONDS = 86_400
"""The most seconds of work that are believed from another gateway."""
ELASTIC_SHARE = 0.35
"""The share of its time that a request with a partial answer counts for: half of ``SAFETY``."""


def cost_of(job: Job, *, document_tokens: int = 0) -> int:
    """Return the cost of a job, in characters.

    Args:
        document_tokens: Of a document that are read where the job does not say; 0 = as many as the model takes.
    """
    limit = PASSAGES_CHARACTERS if job.long_document == "max_passage" else MAX_DOCUMENT_CHARACTERS
    if tokens := job.tokens_read(document_tokens):
        limit = min(limit, CHARACTERS_PER_TOKEN * tokens)
    documents = job.request.documents[: job.depth] if isinstance(job.depth, int) else job.request.documents
    return sum(min(len(document), limit) + DOCUMENT_COST for document in documents)


def units_of(job: Job) -> int:
    """Return how many requests of ordinary size a job is: one for each hundred documents begun, or as many passages' worth."""
    documents = len(job.request.documents[: job.depth] if isinstance(job.depth, int) else job.request.documents)
    usual = DOCUMENTS_OF_A_UNIT * (MAX_DOCUMENT_CHARACTERS + DOCUMENT_COST)
    return max(1, -(-documents // DOCUMENTS_OF_A_UNIT), -(-cost_of(job) // usual))


@dataclass(frozen=True, slots=True)
class Ticket:
    """The counts that ``admit`` made for a request; ``release`` takes them back."""

    model: str
    caller: str
    cost: int
    work_seconds: float
    """Estimated time in the model."""
    wait_seconds: float
    """Estimated time to the answer; 0 where nothing is known."""


Outstanding = Mapping[str, Mapping[str, Sequence[float]]]
"""Seconds of work of each request that waits, by model and caller."""


@dataclass(slots=True)
class Admission:
    """Counts what is outstanding, model by model and caller by caller, and says when it is too much.

    Args:
        max_backlog_seconds: Longest estimated wait of a request that is let in.
        max_waiting: Most requests outstanding here; callers who have more than their share of them are refused first.
    """

    max_backlog_seconds: float
    max_waiting: int
    waiting: int = 0
    """Requests let in here that are not yet answered."""
    here: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    """Their work."""
    elsewhere: Outstanding = field(default_factory=dict)
    """The same at the other gateways, as they last reported it."""
    workers: Counter[str] = field(default_factory=Counter)
    """Workers alive, by model, as last heard."""
    _speeds: dict[str, Speed] = field(default_factory=lambda: defaultdict(Speed))
    _corrections: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 1.0))

    def backlog_seconds(self, model: str) -> float:
        """Return the estimated time of all that is outstanding; 0 before anything was answered."""
        work = sum(sum(works) for callers in self._known(model) for works in callers.values())
        return self._corrections[model] * work / max(1, self.workers[model])

    def wait_seconds(self, model: str, caller: str, work: float) -> float:
        """Return the estimated wait of a new request of so much work.

        Of the caller's own requests each comes first for no longer than this one takes, or a second; the others' for no longer than
        the caller's own.
        """
        works: dict[str, list[float]] = defaultdict(list)
        for callers in self._known(model):
            for name, some in callers.items():
                works[name] += some
        ahead = sum(min(one, max(work, QUANTUM_SECONDS)) for one in works.pop(caller, []))
        share = max(ahead + work, SLICE_SECONDS)
        others = sum(min(sum(some), share) for some in works.values())
        return self._corrections[model] * (ahead + others) / max(1, self.workers[model])

    def _known(self, model: str) -> list[Mapping[str, Sequence[float]]]:
        return [self.here.get(model, {}), self.elsewhere.get(model, {})]

    def admit(self, model: str, cost: int, *, timeout_seconds: float, caller: str = "", is_elastic: bool = False) -> Ticket:
        """Let a request in; ``release`` must follow.

        Args:
            is_elastic: The request takes as many scores as there is time for, so it fits into half of any time.

        Raises:
            Overloaded: it would wait longer than allowed, or be answered after its deadline.
        """
        work = self._speeds[model].seconds(cost)
        if is_elastic:
            work = min(work, ELASTIC_SHARE * timeout_seconds / self._corrections[model])
        wait, own = self.wait_seconds(model, caller, work), self._corrections[model] * work
        limit = min(self.max_backlog_seconds, SAFETY * timeout_seconds - own)
        # Alone, a request is let in whatever its deadline: the estimate may be wrong, and nobody else is harmed.
        if self.waiting and (wait > limit or self._is_crowded(caller)):
            raise Overloaded(
                f"{self.waiting} requests wait here, about {wait:.1f} s of work before this one, and it may wait {max(0.0, limit):.1f}"
                " s; try again later, send fewer documents, allow more time, or start more workers",
                retry_after_seconds=max(1.0, wait - limit),
            )
        self.here[model].setdefault(caller, []).append(work)
        self.waiting += 1
        return Ticket(model, caller, cost, work, wait + own)

    def _is_crowded(self, caller: str) -> bool:
        """Return whether the queue is full and this caller already has its share of it."""
        if self.waiting < self.max_waiting:
            return False
        counts: Counter[str] = Counter()
        for callers in self.here.values():
            counts.update({name: len(works) for name, works in callers.items()})
        share = self.max_waiting / len({*counts, caller})
        return counts[caller] >= share or self.waiting >= 2 * self.max_waiting

    def release(self, ticket: Ticket) -> None:
        """Take back what ``admit`` counted."""
        callers = self.here[ticket.model]
        callers[ticket.caller].remove(ticket.work_seconds)
        if not callers[ticket.caller]:
            del callers[ticket.caller]
        self.waiting -= 1

    def learn(self, ticket: Ticket, answer: Answer) -> None:
        """Learn the speed of one worker from an answer, as far as documents were scored for it and not known already."""
        count = len(answer.scored.scores)
        if (new := count - answer.scored.cached) > 0:
            self._speeds[ticket.model].learn(ticket.cost * new / count, answer.infer_seconds)

    def correct(self, ticket: Ticket, taken_seconds: float) -> None:
        """Learn from how long a request took, answered or not, beside its estimate.

        A slice more or less is nobody's error: only what is long beside it tells, or a hundred small requests would have a large one
        refused.
        """
        if ticket.wait_seconds <= 0:
            return
        known, expected = self._corrections[ticket.model], ticket.wait_seconds
        taken = max(taken_seconds - SLICE_SECONDS, min(taken_seconds, expected))
        share = _SMOOTHING * expected / (expected + SLICE_SECONDS)
        low, high = _CORRECTION_BOUNDS
        self._corrections[ticket.model] = min(high, max(low, known * (1 - share + share * min(2.0, taken / expected))))


def outstanding_of(sign: object) -> dict[str, dict[str, list[float]]]:
    """Read what another gateway shows of its outstanding work; what it cannot have meant is left out.

    A gateway of an older release shows one number a model.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for model, callers in sign.items() if isinstance(sign, dict) else ():
        if isinstance(callers, int | float):
            callers = {"": [callers]}
        if isinstance(callers, dict):
            found[model] = {name: works for name, some in callers.items() if (works := _works(some))}
    return found


def _works(some: object) -> list[float]:
    """Return the numbers of a list that may be seconds."""
    numbers = some if isinstance(some, list) else []
    return [float(one) for one in numbers if isinstance(one, int | float) and 0 <= one < MOST_SECONDS]


def together_of(signs: Sequence[Mapping[str, Mapping[str, Sequence[float]]]]) -> Outstanding:
    """Return what several gateways have outstanding."""
    total: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sign in signs:
        for model, callers in sign.items():
            for name, works in callers.items():
                total[model][name] += works
    return total
