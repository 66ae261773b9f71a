"""The statistics of the verdict: exact values where they are possible, calibration where chance plays a part."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audit.compare import measures, significance
from connector.audit.compare.error_rates import error_rates
from connector.audit.compare.significance import in_blocks
from slimrank.errors import DataError

ONES = np.ones


def judged_differences(queries: int, seed: int) -> np.ndarray:
    """Return (4, queries) differences of four correlated measures of two noisy rankers."""
    random = np.random.default_rng(seed)
    values = []
    for _ in range(queries):
        grades = {str(document): int(grade) for document, grade in enumerate(random.choice(4, 30, p=[0.7, 0.15, 0.1, 0.05]))}
        truth = np.array(list(grades.values())) + random.normal(0, 1.5, 30)
        sides = [[str(d) for d in np.argsort(-(truth + random.normal(0, 0.7, 30)))] for _ in range(2)]
        values.append(
            [
                function(sides[1], grades, 10) - function(sides[0], grades, 10)
                for function in (measures.ndcg, measures.reciprocal_rank, measures.average_precision, measures.precision)
            ]
        )
    return np.array(values).T


def test_the_p_value_is_the_share_of_all_flips() -> None:
    differences = np.array([[0.5, 0.25, -0.125, 0.375, 0.0625, 0.3]])
    sums = [float(np.dot(signs, differences[0])) for signs in product((-1, 1), repeat=6)]
    exact = np.mean([value >= differences.sum() - 1e-12 for value in sums])
    raw, adjusted = significance.randomisation(lambda: [differences], rounds=40_000, seed=1)
    assert raw[0] == pytest.approx(exact, abs=0.005)
    assert adjusted[0] == raw[0]


def test_nothing_changed_is_never_significant() -> None:
    same = np.full((2, 30), 0.4)
    for paired in significance.compare(["nDCG@10", "P@10"], in_blocks(same, same, ONES(30)), seed=0):
        assert (paired.difference, paired.low, paired.high, paired.p_worse, paired.p_better) == (0, 0, 0, 1, 1)
        assert (paired.effect_size, paired.minimum_detectable, paired.ties) == (0, 0, 30)


def test_a_clear_drop_is_detected_and_a_clear_gain_is_not_a_drop() -> None:
    random = np.random.default_rng(3)
    before = random.uniform(0.4, 0.8, (1, 100))
    after = before - 0.1 + random.normal(0, 0.05, (1, 100))
    worse = significance.compare(["nDCG@10"], in_blocks(before, after, ONES(100)), seed=0)[0]
    better = significance.compare(["nDCG@10"], in_blocks(after, before, ONES(100)), seed=0)[0]
    assert worse.p_worse < 0.001 < 0.9 < worse.p_better
    assert better.p_better < 0.001 < 0.9 < better.p_worse
    assert worse.low < worse.difference < worse.high < 0


def test_the_adjustment_of_correlated_measures_is_smaller_than_holms() -> None:
    random = np.random.default_rng(5)
    shared = random.normal(0.2, 1, 60)
    weighted = np.array([shared, shared, shared, shared])
    raw, adjusted = significance.randomisation(lambda: [weighted], rounds=4_999, seed=0)
    assert adjusted == pytest.approx(raw)
    assert significance.holm(raw)[0] == pytest.approx(min(1.0, 4 * raw[0]))


def test_holm_equals_hand_worked_values() -> None:
    assert significance.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=20), st.integers(0, 99))
def test_adjusted_p_values_are_never_below_the_raw_ones(values: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    weighted = np.array([values, random.permutation(values)])
    raw, adjusted = significance.randomisation(lambda: [weighted], rounds=199, seed=seed)
    assert (adjusted >= raw - 1e-12).all()
    assert ((raw > 0) & (adjusted <= 1)).all()


def test_the_weighted_mean_is_the_mean_of_the_traffic() -> None:
    before, after = np.zeros((1, 3)), np.array([[0.0, 0.0, 0.9]])
    blocks = in_blocks(before, after, np.array([5.0, 4.0, 1.0]))
    assert significance.compare(["RR@10"], blocks, seed=0)[0].after == pytest.approx(0.09)
    assert significance.add_up(blocks).effective == pytest.approx(100 / 42)


def test_four_queries_are_too_few_to_detect_a_drop() -> None:
    after = np.array([[0.1, -0.1, 0.2, 0.0]])
    assert significance.compare(["P@10"], in_blocks(np.zeros((1, 4)), after, ONES(4)), seed=0)[0].minimum_detectable == np.inf


def test_the_block_size_changes_no_deterministic_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    before, weights = random.uniform(0, 1, (2, 500)), random.uniform(1, 9, 500)
    after = np.clip(before + random.normal(-0.02, 0.2, (2, 500)), 0, 1)
    whole = significance.compare(["a", "b"], in_blocks(before, after, weights), seed=0)
    monkeypatch.setattr(significance, "BLOCK", 64)
    parts = significance.compare(["a", "b"], in_blocks(before, after, weights), seed=0)
    for one, other in zip(whole, parts, strict=True):
        exact = ("before", "after", "difference", "effect_size", "wins", "losses", "ties")
        assert [getattr(one, name) for name in exact] == pytest.approx([getattr(other, name) for name in exact])
        near = ("low", "high", "p_worse", "p_better", "minimum_detectable")
        assert [getattr(one, name) for name in near] == pytest.approx([getattr(other, name) for name in near], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["equal", "skewed"])
def test_false_alarms_are_5_percent_and_power_is_80_percent(weights: str) -> None:
    differences = judged_differences(300, seed=7)
    weight = ONES(300) if weights == "equal" else np.random.default_rng(1).uniform(0.5, 2.0, 300)
    # With 5,000 trials a share of 5% has a standard error of .3 points; with 15,000 the bound of .6 is three standard errors.
    found = error_rates(in_blocks(np.zeros_like(differences), differences, weight), trials=15_000, seed=11)
    assert found.false_alarms == pytest.approx(0.05, abs=0.006)
    assert min(found.power) >= 0.8


def test_calibration_refuses_too_few_queries() -> None:
    differences = judged_differences(2, seed=7)
    with pytest.raises(DataError, match="2 judged queries were found, too few"):
        error_rates(in_blocks(np.zeros_like(differences), differences, ONES(2)), trials=100, seed=11)
