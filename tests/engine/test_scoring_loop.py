"""One thread, two priorities, slices: a query never waits for an audit, and nothing is scored in vain."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slimrank.engine import scoring_loop
from slimrank.engine.jobs import Answer, Job, Priority
from slimrank.engine.merging import MOST
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.engine.slices import SLICE_SECONDS, TAIL
from slimrank.engine.turns import QUANTUM_SECONDS
from slimrank.errors import DeadlineExceeded, ModelNotReady, ScoringError
from slimrank.identity import ModelIdentity
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer


@pytest.fixture
def start() -> Iterator[Callable[[FakeScorer], ScoringLoop]]:
    """Yield a function that starts a loop; all are stopped afterwards."""
    loops: list[ScoringLoop] = []

    def start_one(scorer: FakeScorer) -> ScoringLoop:
        loops.append(ScoringLoop(Model(ModelIdentity("fake"), scorer)))
        loops[-1].start()
        return loops[-1]

    yield start_one
    for loop in loops:
        loop.stop()


def job(count: int = 1, *, query: str = "pipe", priority: Priority = "query") -> Job:
    return Job(RerankRequest(query, [f"pipe {'x ' * (place % 7)}" for place in range(count)]), priority=priority)


@pytest.mark.parametrize("priority", ["query", "audit"])
@pytest.mark.parametrize("count", [1, 16, 17, 256, 1000])
def test_slices_join_to_the_answer_of_the_whole(
    start: Callable[[FakeScorer], ScoringLoop], count: int, priority: Priority
) -> None:
    whole = FakeScorer().score("pipe", job(count).request.documents)
    answer = start(FakeScorer()).submit(job(count, priority=priority), timeout_seconds=10).result(10)
    assert np.array_equal(answer.scored.scores, whole.scores)
    assert len(answer.scored.truncated) == count


class Timed(FakeScorer):
    """Takes a part of a second a document, on a clock of its own; does something in the middle of its third call."""

    def __init__(self, document_seconds: float, *, fixed_seconds: float = 0.0) -> None:
        super().__init__()
        self.now, self.fixed_seconds, self.per_document = 0.0, fixed_seconds, document_seconds
        self.runs: list[tuple[str, int, float]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        begin = self.now
        self.now += self.fixed_seconds + self.per_document * len(documents)
        self.runs.append((query, len(documents), self.now - begin))
        if len(self.runs) == 3:
            self.meanwhile()
        return super().score(query, documents, instruction=instruction)

    @property
    def slices(self) -> list[float]:
        """Return how long each run took that came after the cost was learnt."""
        return [seconds for _, _, seconds in self.runs[1:]]


def stepped(scorer: Timed) -> tuple[ScoringLoop, Callable[[], None]]:
    """Return a loop on the scorer's clock, and a function that lets it work until nothing waits."""
    loop = ScoringLoop(Model(ModelIdentity("fake"), scorer), clock=scorer.clock)

    def work() -> None:
        while loop._queries or loop._audits:
            one = loop._next()
            assert one is not None
            loop._turn(one)

    return loop, work


def test_slices_are_short_in_time_however_many_documents_and_however_dear() -> None:
    for document_seconds in (0.0004, 0.015, 0.25):
        scorer = Timed(document_seconds)
        loop, work = stepped(scorer)
        future = loop.submit(job(600), timeout_seconds=1000)
        work()
        assert len(future.result(0).scored.scores) == 600
        assert max(scorer.slices) <= SLICE_SECONDS * TAIL + document_seconds


def test_a_run_that_costs_much_by_itself_is_not_begun_for_a_single_document() -> None:
    scorer = Timed(0.001, fixed_seconds=0.5)
    loop, work = stepped(scorer)
    loop.submit(job(600), timeout_seconds=1000)
    work()
    assert len(scorer.runs) <= 6, scorer.runs


def test_a_caller_who_leaves_costs_the_slice_in_hand_and_no_more() -> None:
    scorer = Timed(0.02)
    loop, work = stepped(scorer)
    abandoned, next_one = loop.submit(job(520), timeout_seconds=60), loop.submit(job(), timeout_seconds=60)
    scorer.meanwhile = lambda: assert_true(abandoned.cancel())
    work()
    assert abandoned.cancelled()
    assert len(scorer.runs) == 4
    assert next_one.result(0).queue_seconds < 3 * SLICE_SECONDS * TAIL


def test_a_job_that_is_no_longer_wanted_ends_with_the_slice_in_hand_before_anybody_cancels_it() -> None:
    scorer, callers = Timed(0.02), {"impatient"}
    loop, work = stepped(scorer)
    left = loop.submit(job(520, query="left"), timeout_seconds=60, is_wanted=lambda: "impatient" in callers)
    wanted = loop.submit(job(40, query="wanted"), timeout_seconds=60)
    scorer.meanwhile = callers.clear
    work()
    with pytest.raises(DeadlineExceeded, match="nobody waits"):
        left.result(0)
    assert [query for query, *_ in scorer.runs[:4]] == ["left", "left", "left", "wanted"]
    assert len(wanted.result(0).scored.scores) == 40


def assert_true(claim: bool) -> None:
    assert claim


def test_a_small_job_does_not_wait_for_the_end_of_a_large_one_of_the_same_caller() -> None:
    scorer = Timed(0.02)
    loop, work = stepped(scorer)
    large = loop.submit(job(2000, query="large"), timeout_seconds=600)
    small: list[Future[Answer]] = []
    scorer.meanwhile = lambda: small.extend(loop.submit(job(query="pipe"), timeout_seconds=60) for _ in range(3))
    work()
    assert all(one.result(0).queue_seconds < QUANTUM_SECONDS + SLICE_SECONDS * TAIL for one in small)
    assert len(large.result(0).scored.scores) == 2000


def test_a_query_waits_for_one_slice_of_an_audit_at_most() -> None:
    scorer = Timed(0.02)
    loop, work = stepped(scorer)
    audit = loop.submit(job(320, priority="audit"), timeout_seconds=600)
    queries: list[Future[Answer]] = []
    scorer.meanwhile = lambda: queries.extend(loop.submit(job(), timeout_seconds=60) for _ in range(3))
    work()
    assert all(query.result(0).queue_seconds < SLICE_SECONDS * TAIL for query in queries)
    assert [query for query, *_ in scorer.runs[3:6]] == ["pipe"] * 3
    assert len(audit.result(0).scored.scores) == 320


def test_callers_take_turns_whatever_each_has_sent() -> None:
    scorer = Timed(0.05)
    loop, work = stepped(scorer)
    hostile = [loop.submit(replace(job(40), caller="hostile"), timeout_seconds=600) for _ in range(20)]
    polite: list[Future[Answer]] = []
    scorer.meanwhile = lambda: polite.append(loop.submit(replace(job(4), caller="polite"), timeout_seconds=600))
    work()
    assert polite[0].result(0).queue_seconds < SLICE_SECONDS * TAIL + 0.05
    assert all(len(one.result(0).scored.scores) == 40 for one in hostile)


def test_a_job_stops_at_its_deadline_between_slices() -> None:
    scorer = Timed(0.02)
    loop, work = stepped(scorer)
    late, _ = loop.submit(job(2560), timeout_seconds=2.0), loop.submit(job(), timeout_seconds=60)
    work()
    with pytest.raises(DeadlineExceeded, match="no longer be answered"):
        late.result(0)
    assert scorer.now <= 2.0 + SLICE_SECONDS * TAIL


def test_a_cancelled_job_is_never_scored(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    scorer = FakeScorer(seconds=0.2)
    loop = start(scorer)
    first = loop.submit(job(), timeout_seconds=10)
    time.sleep(0.05)
    cancelled, last = loop.submit(job(), timeout_seconds=10), loop.submit(job(), timeout_seconds=10)
    assert cancelled.cancel()
    assert first.result(10)
    assert last.result(10)
    assert scorer.calls == 2


def test_an_error_is_the_askers_and_the_loop_goes_on(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    loop = start(FakeScorer())
    with pytest.raises(ScoringError):
        loop.submit(job(query="fail"), timeout_seconds=10).result(10)
    assert loop.submit(job(), timeout_seconds=10).result(10).model.name == "fake"


def test_what_waits_at_the_end_is_finished_and_what_comes_later_refused(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    loop = start(FakeScorer(seconds=0.1))
    waiting = [loop.submit(job(), timeout_seconds=10) for _ in range(3)]
    loop.stop()
    assert all(future.result(0) for future in waiting)
    with pytest.raises(ModelNotReady, match="shutting down"):
        loop.submit(job(), timeout_seconds=1).result(0)


def test_a_model_that_does_not_come_back_is_noticed(
    start: Callable[[FakeScorer], ScoringLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_loop, "STUCK_SECONDS", 0.1)
    loop = start(FakeScorer(seconds=0.6))
    future = loop.submit(job(), timeout_seconds=10)
    time.sleep(0.4)
    assert loop.is_stuck
    future.result(5)
    time.sleep(0.05)
    assert not loop.is_stuck


def test_a_long_job_that_makes_progress_is_not_taken_for_stuck() -> None:
    scorer = Timed(0.02)
    loop, work = stepped(scorer)
    loop.submit(job(10_000), timeout_seconds=1)  # long overdue, and nobody else waits
    seen: list[bool] = []
    loop.model.cost.learn_documents = lambda tokens, seconds: seen.append(loop.is_stuck)  # type: ignore[method-assign]
    work()
    assert seen and not any(seen)


def test_a_fault_of_the_loop_itself_fails_the_job_and_not_the_thread(
    start: Callable[[FakeScorer], ScoringLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = start(FakeScorer())
    with monkeypatch.context() as spoilt:
        spoilt.setattr(loop, "_company", lambda waiting: [][0])
        with pytest.raises(ScoringError, match="its log says more"):
            loop.submit(job(), timeout_seconds=10).result(10)
    assert loop.submit(job(), timeout_seconds=10).result(10).model.name == "fake"
    assert not loop.is_stuck


class Merging(FakeScorer):
    """Scores pairs of several queries at once, after a first job that holds it up; keeps what came in each run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[list[str]] = []
        self.is_held, self.may_go_on = threading.Event(), threading.Event()

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.runs.append([query])
        if query == "hold":
            self.is_held.set()
            self.may_go_on.wait(10)
        return super().score(query, documents, instruction=instruction)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None) -> list[Scored]:
        self.runs.append([query for query, _ in pairs])
        return [FakeScorer.score(self, query, [document], instruction=instruction) for query, document in pairs]


Waiting = tuple[Merging, list["Future[Answer]"]]


@pytest.fixture
def queue_up(start: Callable[[FakeScorer], ScoringLoop]) -> Callable[..., Waiting]:
    """Return a function that lets jobs queue behind a busy model, and then lets it go on."""

    def queue_all(*jobs: Job, **first_options: Any) -> Waiting:
        scorer = Merging()
        loop = start(scorer)
        loop.submit(job(query="hold"), timeout_seconds=30)
        assert scorer.is_held.wait(10)
        futures = [loop.submit(jobs[0], **({"timeout_seconds": 30} | first_options))]
        futures += [loop.submit(one, timeout_seconds=30) for one in jobs[1:]]
        scorer.may_go_on.set()
        return scorer, futures

    return queue_all


def asked(query: str, *documents: str, instruction: str | None = None) -> Job:
    return Job(RerankRequest(query, documents, instruction))


def test_small_jobs_that_queued_are_one_run_and_each_gets_its_own_answer(queue_up: Callable[..., Waiting]) -> None:
    queries = [f"request{number}" for number in range(MOST + 2)]
    scorer, futures = queue_up(*(asked(query, f"this is request{number}") for number, query in enumerate(queries)))
    for query, future in zip(queries, futures, strict=True):
        assert np.array_equal(future.result(10).scored.scores, FakeScorer().score(query, [f"this is {query}"]).scores)
    assert scorer.runs == [["hold"], queries[:MOST], queries[MOST:]]


def test_jobs_of_several_documents_or_another_instruction_are_runs_of_their_own_in_order(
    queue_up: Callable[..., Waiting],
) -> None:
    alone = [asked("two", "a", "b"), asked("new", "a", instruction="prefer b"), asked("c", "c"), asked("many", *"abc")]
    scorer, futures = queue_up(*alone, asked("d", "d"), asked("e", "e"), job(query="audit", priority="audit"))
    assert [len(future.result(10).scored.scores) for future in futures] == [2, 1, 1, 3, 1, 1, 1]
    assert scorer.runs == [["hold"], ["two"], ["new"], ["c"], ["many"], ["d", "e"], ["audit"]]


def test_a_job_whose_caller_left_or_whose_time_is_up_is_not_in_the_run(queue_up: Callable[..., Waiting]) -> None:
    jobs = [asked(query, query) for query in "abc"]
    scorer, futures = queue_up(*jobs, timeout_seconds=0.0)
    with pytest.raises(DeadlineExceeded):
        futures[0].result(10)
    assert all(future.result(10).model.name == "fake" for future in futures[1:])
    assert scorer.runs == [["hold"], ["b", "c"]]


def test_a_job_that_fails_the_run_fails_alone(queue_up: Callable[..., Waiting]) -> None:
    scorer, futures = queue_up(asked("a", "a"), asked("fail", "b"), asked("c", "c"))
    with pytest.raises(ScoringError):
        futures[1].result(10)
    assert all(futures[place].result(10).model.name == "fake" for place in (0, 2))
    assert scorer.runs == [["hold"], ["a", "fail", "c"], ["a"], ["fail"], ["c"]]
