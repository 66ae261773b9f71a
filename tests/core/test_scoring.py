"""Order: scores decide, ties keep the order given, and nothing that is not a number passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimrank.errors import ScoringError
from slimrank.scoring import probabilities, rank, scores_from_logits
from slimrank.types import Scored


def scored(values: list[float]) -> Scored:
    return Scored(np.array(values, dtype=np.float32), np.zeros(len(values), dtype=np.bool_), False, 0)


def test_a_score_is_the_difference_of_the_two_logits() -> None:
    assert scores_from_logits([[1.0, 3.5], [2.0, -1.0]]).tolist() == [2.5, -3.0]


def test_half_precision_logits_are_subtracted_in_float32() -> None:
    logits = np.array([[2048.0, 2049.0]], dtype=np.float16)
    assert scores_from_logits(logits).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(ScoringError, match="1 of 2 scores are not finite"):
        scores_from_logits([[0.0, bad], [0.0, 1.0]])


def test_equal_scores_keep_the_order_given() -> None:
    assert [hit.index for hit in rank(scored([1.0, 2.0, 1.0, 2.0]))] == [1, 3, 0, 2]


@pytest.mark.parametrize("values", [[], [0.3]])
def test_none_and_one_document_are_ranked(values: list[float]) -> None:
    assert [hit.index for hit in rank(scored(values))] == list(range(len(values)))


@given(st.lists(st.floats(-50, 50, width=32), unique=True, min_size=1), st.randoms())
def test_permuting_the_request_changes_only_the_indices(values: list[float], random: "st.RandomSource") -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = rank(scored([values[i] for i in order]))
    assert [order[hit.index] for hit in shuffled] == [hit.index for hit in rank(scored(values))]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1))
def test_a_probability_lies_strictly_between_0_and_1(values: list[float]) -> None:
    chances = probabilities(values)
    assert ((chances > 0) & (chances < 1)).all()


def test_calibration_scales_and_moves_the_sigmoid() -> None:
    assert probabilities([2.0], scale=0.5, offset=-1.0)[0] == pytest.approx(0.5)
