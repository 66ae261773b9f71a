"""The first stage's rank as a prior."""

import numpy as np
import pytest

from slimrank.evaluation.fusion_weight import fit_weight
from slimrank.fusion import fuse, fuse_run


def test_without_weight_the_scores_stay_as_they_are() -> None:
    assert fuse([1.5, -2.0], [1, 2], 0.0).tolist() == [1.5, -2.0]


def test_equal_scores_keep_first_stage_order_and_a_better_score_still_wins() -> None:
    assert np.argmax(fuse([0.0, 0.0, 0.0], [1, 2, 3], 0.5)) == 0
    assert np.argmax(fuse([0.0, 0.0, 4.0], [1, 2, 3], 0.5)) == 2


def test_a_second_page_goes_on_where_the_first_ended() -> None:
    whole = fuse([0.3, 0.2, 0.1, 0.4], [1, 2, 3, 4], 0.7)
    assert fuse([0.1, 0.4], [3, 4], 0.7).tolist() == whole[2:].tolist()


def test_the_fitted_weight_trusts_whichever_is_right() -> None:
    first = {"q": {"a": 9.0, "b": 8.0, "c": 7.0}}
    qrels = {"q": {"a": 1}}
    wrong, right = {"q": {"a": 0.0, "b": 0.5, "c": 0.2}}, {"q": {"a": 3.0, "b": 0.5, "c": 0.2}}
    assert fit_weight([(qrels, first, wrong)])[0] > 0
    assert fit_weight([(qrels, first, right)])[0] == 0


def test_a_fused_run_holds_the_first_stages_hits() -> None:
    first = {"q": {"a": 9.0, "b": 8.0}, "empty": {}}
    fused = fuse_run(first, {"q": {"a": 1.0, "b": 1.0}}, 1.0)
    assert fused["q"]["a"] - fused["q"]["b"] == pytest.approx(np.log(2))
    assert fused["empty"] == {}
