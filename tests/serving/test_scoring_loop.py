"""One thread, two priorities, slices: a query never waits for an audit, and nothing is scored in vain."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from slimrank.errors import DeadlineExceeded, ModelNotReady, ScoringError
from slimrank.serving import scoring_loop
from slimrank.serving.backend import Answer, Job, Priority
from slimrank.serving.model import Model
from slimrank.serving.scoring_loop import ScoringLoop
from slimrank.serving.together import MOST
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer


@pytest.fixture
def start() -> Iterator[Callable[[FakeScorer], ScoringLoop]]:
    """Yield a function that starts a loop; all are stopped afterwards."""
    loops: list[ScoringLoop] = []

    def start_one(scorer: FakeScorer) -> ScoringLoop:
        loops.append(ScoringLoop(Model("fake", scorer)))
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


def test_a_query_waits_for_one_slice_of_an_audit_at_most(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    scorer = FakeScorer(seconds=0.1)
    loop = start(scorer)
    audit = loop.submit(job(20 * scoring_loop.AUDIT_SLICE, priority="audit"), timeout_seconds=30)
    time.sleep(0.15)
    begin = time.monotonic()
    for _ in range(3):
        loop.submit(job(), timeout_seconds=30).result(10)
    assert time.monotonic() - begin < 1.2
    assert not audit.done()
    assert len(audit.result(30).scored.scores) == 20 * scoring_loop.AUDIT_SLICE


def test_a_job_stops_at_its_deadline_between_slices(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    scorer = FakeScorer(seconds=0.1)
    with pytest.raises(DeadlineExceeded, match="no longer be answered"):
        start(scorer).submit(job(10 * scoring_loop.QUERY_SLICE), timeout_seconds=0.25).result(10)
    assert scorer.calls <= 4


def test_a_cancelled_or_unwanted_job_is_never_scored(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    scorer = FakeScorer(seconds=0.2)
    loop = start(scorer)
    first = loop.submit(job(), timeout_seconds=10)
    time.sleep(0.05)
    cancelled = loop.submit(job(), timeout_seconds=10)
    unwanted = loop.submit(job(), timeout_seconds=10, is_wanted=lambda: False)
    assert cancelled.cancel()
    assert first.result(10)
    with pytest.raises(DeadlineExceeded, match="nobody waits"):
        unwanted.result(10)
    assert scorer.calls == 1


def test_an_error_is_the_askers_and_the_loop_goes_on(start: Callable[[FakeScorer], ScoringLoop]) -> None:
    loop = start(FakeScorer())
    with pytest.raises(ScoringError):
        loop.submit(job(query="fail"), timeout_seconds=10).result(10)
    assert loop.submit(job(), timeout_seconds=10).result(10).model == "fake"


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
    future = loop.submit(job(), timeout_seconds=0.1)
    time.sleep(0.4)
    assert loop.is_stuck
    future.result(5)
    time.sleep(0.05)
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
    for options in ({"is_wanted": lambda: False}, {"timeout_seconds": 0.0}):
        scorer, futures = queue_up(*jobs, **options)
        with pytest.raises(DeadlineExceeded):
            futures[0].result(10)
        assert all(future.result(10).model == "fake" for future in futures[1:])
        assert scorer.runs == [["hold"], ["b", "c"]]


def test_a_job_that_fails_the_run_fails_alone(queue_up: Callable[..., Waiting]) -> None:
    scorer, futures = queue_up(asked("a", "a"), asked("fail", "b"), asked("c", "c"))
    with pytest.raises(ScoringError):
        futures[1].result(10)
    assert all(futures[place].result(10).model == "fake" for place in (0, 2))
    assert scorer.runs == [["hold"], ["a", "fail", "c"], ["a"], ["fail"], ["c"]]
