"""The bounds over unjudged documents equal the extremes over all gradings."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audit.compare import bounds, measures

DOCUMENTS = list("abcdefg")
rankings = st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=5)
judgments = st.dictionaries(st.sampled_from([*DOCUMENTS, "lost"]), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(rankings, rankings, judgments, st.sampled_from([2, 4]))
def test_ndcg_bounds_are_the_extremes_over_all_gradings(
    before: list[str], after: list[str], judged: dict[str, int], k: int
) -> None:
    unjudged = sorted((set(before[:k]) | set(after[:k])) - judged.keys())
    pairs = []
    for grades in product(range(3), repeat=len(unjudged)):
        every = judged | dict(zip(unjudged, grades, strict=True))
        pairs.append((measures.ndcg(before, every, k), measures.ndcg(after, every, k)))
    found = bounds.ndcg_bounds(before, after, judged, k, 2)
    expected = [[a for a, _ in pairs], [b for _, b in pairs], [b - a for a, b in pairs]]
    for bound, values in zip(found, expected, strict=True):
        assert bound == pytest.approx((min(values), max(values)), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(rankings, judgments, st.sampled_from([2, 4]))
def test_bounds_of_binary_measures_contain_every_grading(ranking: list[str], judged: dict[str, int], k: int) -> None:
    unjudged = sorted(set(ranking[:k]) - judged.keys())
    every = [judged | dict(zip(unjudged, grades, strict=True)) for grades in product((0, 1), repeat=len(unjudged))]
    for measure, bound in (
        (measures.precision, bounds.precision_bounds),
        (measures.reciprocal_rank, bounds.reciprocal_rank_bounds),
        (measures.average_precision, bounds.average_precision_bounds),
    ):
        values = [measure(ranking, case, k) for case in every]
        assert bound(ranking, judged, k) == pytest.approx((min(values), max(values)), abs=1e-9)


def test_bounds_are_equal_if_every_document_is_judged() -> None:
    judged = {"a": 2, "b": 0}
    before, after, difference = bounds.ndcg_bounds("ab", "ba", judged, 10, 3)
    assert before == (1.0, 1.0)
    assert after.low == after.high < 1
    assert difference == pytest.approx((after.low - 1, after.low - 1))


def test_a_new_document_at_the_last_rank_can_lower_ndcg_by_raising_the_ideal() -> None:
    judged = {"a": 1}
    low, high = bounds.ndcg_bounds("ax", "ax", judged, 2, 3)[0]
    assert high == 1.0
    assert low < 1.0


def test_an_unjudged_document_with_an_unchanged_rank_cancels_out() -> None:
    difference = bounds.ndcg_bounds("xab", "xab", {"a": 1, "b": 1}, 3, 3)[2]
    assert difference == (0.0, 0.0)
