"""The sweep over rerank depths: windows and the knee."""

import pytest

from connector.audit.sweep import Point, _time, knee, window
from slimrank.engine.cache import CachedScorer, InMemory
from tests.doubles import FakeScorer


def test_the_measured_time_is_not_that_of_cached_scores() -> None:
    model = FakeScorer()
    cached = CachedScorer(model, "m", [InMemory(entries=100, seconds=60)])
    cached.score("red shoes", ["a", "b"])
    for _ in range(3):
        _time(cached, "red shoes", ["a", "b"])
    assert model.calls == 4


def test_only_the_window_is_reordered_and_ties_keep_their_order() -> None:
    assert window(["a", "b", "c", "d"], [1.0, 3.0, 1.0, 9.0], 3) == ["b", "a", "c", "d"]
    assert window(["a", "b"], [1.0, 3.0], 0) == ["a", "b"]
    assert window([], [], 10) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.4, 0.5, 0.58, 0.6, 0.6], 20), ([0.4, 0.39, 0.38, 0.37, 0.36], None), ([0.4, 0.45, 0.5, 0.55, 0.6], 20)],
)
def test_the_knee_is_the_depth_beyond_which_time_gains_little(values: list[float], expected: int | None) -> None:
    points = [Point(depth, value, depth * 2.0) for depth, value in zip((0, 10, 20, 50, 100), values, strict=True)]
    assert knee(points) == expected
