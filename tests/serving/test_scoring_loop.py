"""One thread, two priorities, slices: a query never waits for an audit, and nothing is scored in vain."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from slimrank.errors import DeadlineExceeded, ModelNotReady, ScoringError
from slimrank.serving import scoring_loop
from slimrank.serving.backend import Job, Priority
from slimrank.serving.model import Model
from slimrank.serving.scoring_loop import ScoringLoop
from slimrank.types import RerankRequest
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
