"""Admission and the scoring loop on a virtual clock: at twice what a worker can do, nine tenths of the best goodput and more."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from slimrank.engine.cost import Speed
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.errors import Overloaded
from slimrank.identity import ModelIdentity
from slimrank.serving.admission import Admission, Ticket, cost_of
from slimrank.types import RerankRequest, Scored

RATE_OF_ONE_WORKER = 20.0
WAY_SECONDS = 0.02
"""From the worker to the gateway."""
CALLER_SECONDS = 0.05
"""From the gateway to the caller, who counts from when he asked."""
TEXT = "x" * 500


@dataclass
class Worker:
    """The time that a model takes: a fixed part, a part a document, and chance."""

    fixed_share: float = 0.0
    noise: float = 0.2
    sizes: Sequence[int] = (10, 50, 100)

    def seconds(self, documents: int, chance: random.Random) -> float:
        mean = self.fixed_share + (1 - self.fixed_share) * documents * len(self.sizes) / sum(self.sizes)
        return mean / RATE_OF_ONE_WORKER * chance.lognormvariate(0, self.noise)


@dataclass
class Simulation:
    """One gateway and one worker; the real admission and the real loop, with chance and time of its own."""

    worker: Worker
    rate: float
    timeout_seconds: float
    seconds: float = 20.0
    now: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(5)
        self.admission = Admission(max_backlog_seconds=10.0, max_waiting=1000)
        self.loop = ScoringLoop(Model(ModelIdentity("fake"), self), clock=lambda: self.now)
        self.numbers = itertools.count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []

    def goodput(self) -> float:
        """Return full answers within their deadline, a second."""
        time = 0.0
        while (time := time + self.chance.expovariate(self.rate)) < self.seconds:
            self.at(time, self.ask)
        while self.events:
            self.pass_until(self.events[0][0])
            while self.loop._queries:
                self.serve()
        return self.outcomes["good"] / self.seconds

    def serve(self) -> None:
        """Let the worker take one job as far as its thread would."""
        waiting = self.loop._next()
        assert waiting is not None
        self.loop._turn(waiting)

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), event))

    def pass_until(self, end: float) -> None:
        """Let time pass and happen what is due: callers ask and are answered while the worker works."""
        while self.events and self.events[0][0] <= end:
            self.now, _, event = heapq.heappop(self.events)
            event()
        self.now = end

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Be the loop's scorer."""
        count = len(documents)
        self.pass_until(self.now + self.worker.seconds(count, self.chance))
        return Scored(np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.bool_), False, 0)

    def ask(self) -> None:
        """Be a caller, his gateway and the way between."""
        job = Job(RerankRequest("q", [TEXT] * self.chance.choice(self.worker.sizes)))
        try:
            ticket = self.admission.admit("fake", cost_of(job), timeout_seconds=self.timeout_seconds)
        except Overloaded:
            self.outcomes["refused"] += 1
            return
        asked, given_up = self.now, list[bool]()
        future = self.loop.submit(job, timeout_seconds=self.timeout_seconds - WAY_SECONDS)

        def arrive() -> None:
            if not given_up:
                self.close(ticket, asked, None if future.exception() else future.result())

        def expire() -> None:
            if future.cancel() or not future.done():
                given_up.append(True)
                self.close(ticket, asked, None)

        future.add_done_callback(lambda _: self.at(self.now + WAY_SECONDS, arrive))
        self.at(asked + self.timeout_seconds, expire)

    def close(self, ticket: Ticket, asked: float, answer: Answer | None) -> None:
        """Do what the gateway does at the end of a request, and count it."""
        taken = self.now - asked
        self.admission.release(ticket)
        if answer is None:
            self.outcomes["dropped"] += 1
            self.admission.correct(ticket, max(ticket.wait_seconds, self.timeout_seconds))
            return
        self.outcomes["good" if taken + CALLER_SECONDS <= self.timeout_seconds else "late"] += 1
        self.admission.learn(ticket, answer)
        self.admission.correct(ticket, taken)


@pytest.mark.parametrize(
    ("worker", "timeout_seconds"),
    [
        (Worker(), 1.0),
        (Worker(fixed_share=1.0), 1.0),
        (Worker(fixed_share=0.5), 1.0),
        (Worker(noise=0.5), 1.0),
        (Worker(), 3.0),
        (Worker(), 0.5),
        (Worker(fixed_share=0.5, sizes=(1, 1, 1, 100)), 1.0),
    ],
    ids=["by-size", "all-fixed", "half-fixed", "noisy", "patient", "hurried", "few-large"],
)
def test_twice_saturation_keeps_nine_tenths_of_the_best_goodput(worker: Worker, timeout_seconds: float) -> None:
    shares = (0.9, 1.0, 1.2, 1.5)
    peak = max(Simulation(worker, share * RATE_OF_ONE_WORKER, timeout_seconds).goodput() for share in shares)
    twice = Simulation(worker, 2 * RATE_OF_ONE_WORKER, timeout_seconds)
    assert twice.goodput() >= 0.9 * peak
    # What was let in was answered: next to nothing is scored in vain.
    assert twice.outcomes["late"] + twice.outcomes["dropped"] <= 0.1 * twice.outcomes["good"]


def test_a_calm_gateway_refuses_next_to_nothing() -> None:
    calm = Simulation(Worker(), 0.6 * RATE_OF_ONE_WORKER, 1.0)
    calm.goodput()
    assert calm.outcomes["good"] >= 0.99 * sum(calm.outcomes.values())


def test_a_fixed_part_and_a_part_by_size_are_told_apart() -> None:
    speed = Speed()
    assert speed.seconds(100) == 0.0
    for cost in (100, 5000, 300, 9000, 1000):
        speed.learn(cost, 0.2 + cost / 1000)
    assert speed.seconds(2000) == pytest.approx(2.2)
    assert speed.seconds(0) == pytest.approx(0.2)


def test_jobs_all_alike_or_falling_in_time_never_estimate_less_than_nothing() -> None:
    alike, falling = Speed(), Speed()
    for cost, seconds in ((1000, 1.0), (1000, 1.2), (2000, 0.5), (4000, 0.1)):
        falling.learn(cost, seconds)
        alike.learn(1000, seconds)
    for cost in (0, 1, 1000, 100_000):
        assert alike.seconds(cost) >= 0
        assert falling.seconds(cost) >= 0
