"""Batches run side by side, every one of them once, and an error is the caller's."""

import threading
from pathlib import Path

import numpy as np
import pytest

from slimrank.engine.lanes import Lanes
from slimrank.engine.session import OrtScorer
from slimrank.errors import ScoringError
from tests.tiny import DOCUMENTS

QUERY = "which moon is the largest"


@pytest.mark.parametrize("count", [1, 3])
def test_every_batch_is_run_once(count: int) -> None:
    done: list[int] = []
    Lanes(count).each(done.append, range(20))
    assert sorted(done) == list(range(20))


def test_lanes_run_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)
    Lanes(2).each(lambda batch: together.wait(), [0, 1])  # type: ignore[arg-type, return-value]


def test_one_lane_is_the_callers_own_thread() -> None:
    seen: list[threading.Thread] = []
    Lanes(1).each(lambda batch: seen.append(threading.current_thread()), [0, 1])
    assert set(seen) == {threading.current_thread()}


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_run_raises_is_the_callers_error(count: int) -> None:
    def run(batch: int) -> None:
        raise ScoringError(f"batch {batch}")

    with pytest.raises(ScoringError, match="batch 7"):
        Lanes(count).each(run, [7, 8, 9])


def test_scores_are_those_of_one_lane_also_for_several_requests_at_once(tiny_model: Path) -> None:
    alone = OrtScorer.load(tiny_model, threads=1).score(QUERY, DOCUMENTS).scores
    scorer = OrtScorer.load(tiny_model, threads=3, batch_tokens=64)
    found: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}

    def ask(place: int) -> None:
        found[place] = scorer.score(QUERY, DOCUMENTS).scores

    callers = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for scores in found.values():
        assert scores == pytest.approx(alone, abs=1e-4)
    with_budget = scorer.with_budget(128)
    assert with_budget.cost.lanes == scorer.cost.lanes == 3
    assert with_budget.score(QUERY, DOCUMENTS).scores == pytest.approx(alone, abs=1e-4)
