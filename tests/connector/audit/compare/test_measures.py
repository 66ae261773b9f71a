"""The audit's measures equal hand-worked cases, ir-measures and ranx, and have their known properties for any ranking."""

import json
from math import isnan, log2
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audit.compare import measures

DOCUMENTS = [f"d{number:02}" for number in range(16)]
rankings = st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=12)
FUNCTIONS = {"nDCG": measures.ndcg, "RR": measures.reciprocal_rank, "AP": measures.average_precision, "P": measures.precision}
judgments = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1)


def test_overlap_and_jaccard_equal_hand_worked_values() -> None:
    assert measures.overlap("abcd", "cdef", 4) == 0.5
    assert measures.jaccard("abcd", "cdef", 4) == 2 / 6
    assert measures.overlap("abcd", "cdef", 2) == 0.0


def test_equal_rankings_shorter_than_k_have_full_overlap() -> None:
    assert measures.overlap("ab", "ba", 10) == 1.0
    assert measures.overlap("ab", "a", 10) == 0.5


def test_two_empty_rankings_are_the_same_ranking() -> None:
    assert [measures.overlap("", "", 10), measures.jaccard("", "", 10), measures.rbo("", "", 0.9)] == [1.0, 1.0, 1.0]
    assert [measures.overlap("a", "", 10), measures.jaccard("a", "", 10), measures.rbo("", "a", 0.9)] == [0.0, 0.0, 0.0]


def test_rbo_equals_a_hand_worked_value() -> None:
    # agreements of abc and bac: 0/1, 2/2, 3/3; p = 0.5: A_3·p^3 + (1-p)/p · (0·.5 + 1·.25 + 1·.125) = .125 + .375
    assert measures.rbo("abc", "bac", 0.5) == pytest.approx(0.5)


def test_rbo_of_uneven_lengths_extrapolates_the_shorter_one() -> None:
    # ab against acb, p = 0.5: X = 1, 1, 2; s = 2, l = 3
    # sum 1/1·.5 + 1/2·.25 + 2/3·.125 = .708333; extra X_2·(3-2)/(2·3)·.125 = .0208333; tail ((2-1)/3 + 1/2)·.125 = .1041667
    assert measures.rbo("ab", "acb", 0.5) == pytest.approx(0.7083333333 + 0.0208333333 + 0.1041666667)


@given(rankings, rankings, st.sampled_from([0.5, 0.9, 0.98]))
def test_rbo_is_symmetric_bounded_and_one_for_equal_rankings(a: list[str], b: list[str], p: float) -> None:
    assert measures.rbo(a, b, p) == pytest.approx(measures.rbo(b, a, p), abs=1e-12)
    assert -1e-12 <= measures.rbo(a, b, p) <= 1 + 1e-12
    assert measures.rbo(a, a, p) == pytest.approx(1.0, abs=1e-12)


@given(rankings, rankings, st.sampled_from([0.5, 0.9]))
def test_rbo_equals_its_definition_by_sets(a: list[str], b: list[str], p: float) -> None:
    k = min(len(a), len(b))
    a, b = a[:k], b[:k]
    agreements = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, k + 1)]
    expected = agreements[-1] * p**k + (1 - p) / p * sum(A * p**d for d, A in enumerate(agreements, 1)) if k else 1.0
    assert measures.rbo(a, b, p) == pytest.approx(expected, abs=1e-12)


def test_kendall_tau_and_distance_use_only_shared_hits() -> None:
    assert measures.tau_of_shared("abxc", "yabc") == 1.0
    assert measures.tau_of_shared("abc", "cba") == -1.0
    assert measures.tau_of_shared("abc", "bac") == pytest.approx(1 / 3)
    assert measures.rank_biased_distance("abxc", "yabc", 0.9) == pytest.approx(0.0)
    assert measures.rank_biased_distance("abc", "bac", 0.5) == pytest.approx(0.5)


def test_tau_and_distance_are_nan_without_shared_hits() -> None:
    assert isnan(measures.tau_of_shared("a", "a"))
    assert isnan(measures.rank_biased_distance("a", "b", 0.9))


def test_ndcg_equals_a_hand_worked_value() -> None:
    judged = {"a": 2, "b": 1, "c": 0}
    expected = (1 / log2(2) + 2 / log2(4)) / (2 / log2(2) + 1 / log2(3))
    assert measures.ndcg("bca", judged, 10) == pytest.approx(expected)


@settings(deadline=None)  # the first call loads a library
@given(rankings, judgments, st.sampled_from([1, 3, 5, 10]))
def test_judged_measures_equal_ir_measures(ranking: list[str], judged: dict[str, int], k: int) -> None:
    run = {"q": {document: float(len(ranking) - place) for place, document in enumerate(ranking)}}
    names = [f"nDCG@{k}", f"RR@{k}", f"AP@{k}", f"P@{k}"]
    parsed = [ir_measures.parse_measure(name) for name in names]
    expected = dict.fromkeys(names, 0.0)
    if ranking:
        expected |= {str(m.measure): m.value for m in ir_measures.iter_calc(parsed, {"q": judged}, run)}
    ours = [function(ranking, judged, k) for function in FUNCTIONS.values()]
    assert ours == pytest.approx([expected[name] for name in names], abs=1e-9)


RANX = json.loads((Path(__file__).parents[3] / "data" / "ranx_cases.json").read_text(encoding="utf-8"))  # by ranx_cases.py


@pytest.mark.parametrize("case", RANX["cases"])
def test_judged_measures_equal_the_stored_ranx_values(case: dict[str, Any]) -> None:
    found = {}
    for name in case["values"]:
        measure, _, k = name.partition("@")
        found[name] = FUNCTIONS[measure](case["ranking"], case["judged"], int(k))
    assert found == pytest.approx(case["values"], abs=1e-12)


def test_coverage_is_the_judged_share_of_the_hits() -> None:
    assert measures.coverage("abcd", {"a": 0, "d": 3}, 4) == 0.5
    assert measures.coverage("", {}, 10) == 1.0
