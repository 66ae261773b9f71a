"""Losses and targets, compared with values computed by hand."""

import math

import pytest
import torch

from slimrank.errors import ConfigError
from training.losses import group_targets, listwise, margin_mse, pointwise


def test_labels_alone_share_the_mass_by_grade() -> None:
    assert group_targets([3, 1, 0, None], [], teacher_weight=0.5, temperature=0.05).tolist() == [0.75, 0.25, 0, 0]


def test_a_teacher_alone_gives_a_softmax() -> None:
    targets = group_targets([None, None], [0.7, 0.7 - 0.05 * math.log(3)], teacher_weight=0.5, temperature=0.05)
    assert targets.tolist() == pytest.approx([0.75, 0.25], abs=1e-5)


def test_labels_and_teacher_are_mixed_by_weight() -> None:
    targets = group_targets([1, 0], [0.5, 0.5], teacher_weight=0.4, temperature=0.05)
    assert targets.tolist() == pytest.approx([0.8, 0.2])


def test_a_group_without_labels_and_teacher_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a judged positive nor teacher scores"):
        group_targets([None, 0], [], teacher_weight=0.5, temperature=0.05)


def test_listwise_is_smallest_where_the_softmax_equals_the_targets() -> None:
    targets = torch.tensor([0.7, 0.2, 0.1])
    best = listwise(targets.log(), targets)
    assert best < listwise(targets.log() + torch.tensor([0.3, 0.0, -0.2]), targets)
    assert listwise(targets.log() + 5, targets) == pytest.approx(float(best), abs=1e-5)


def test_pointwise_is_zero_if_no_document_is_judged_relevant() -> None:
    assert float(pointwise(torch.tensor([3.0, -1.0]), [None, 0])) == 0
    assert float(pointwise(torch.tensor([0.0, 0.0]), [1, None])) == pytest.approx(math.log(2))


def test_margin_mse_is_zero_for_the_teachers_own_margins() -> None:
    teacher = [0.9, 0.7, 0.6]
    assert float(margin_mse(torch.tensor(teacher) / 0.05 + 2, teacher, temperature=0.05)) == pytest.approx(0, abs=1e-8)
