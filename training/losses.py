"""Losses of stage 2: pure functions over the scores of one group.

The score is ``logit("1") - logit("0")``: nothing is added to the model. Listwise cross-entropy trains the
ranking (ListNet, https://dl.acm.org/doi/10.1145/1273496.1273513; with a teacher it is the KL
divergence up to a constant). A pointwise term keeps score 0 at the border between relevant and irrelevant.
MarginMSE (https://arxiv.org/abs/2010.02666) is an alternative that copies a teacher's margins.

Shapes: (N,) for the N documents of one query.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from slimrank.errors import ConfigError


def group_targets(
    relevance: Sequence[int | None], teacher: Sequence[float], *, teacher_weight: float, temperature: float
) -> Tensor:
    """Return the distribution that a group's scores should have, shape (N,).

    The labels give each positive a share in proportion to its grade; the teacher's distribution
    is ``softmax(teacher / temperature)``. If one of the two is missing, the other is used alone.

    Raises:
        ConfigError: the group has neither a positive nor teacher scores.
    """
    grades = torch.tensor([float(grade or 0) for grade in relevance])
    labelled = bool(grades.sum() > 0)
    if not labelled and not teacher:
        raise ConfigError("a group has neither a judged positive nor teacher scores; prepare the data with a teacher")
    if not teacher:
        return grades / grades.sum()
    soft = torch.softmax(torch.tensor(teacher) / temperature, dim=0)
    return teacher_weight * soft + (1 - teacher_weight) * grades / grades.sum() if labelled else soft


def listwise(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy between ``targets`` and the softmax of the group's scores."""
    return -(targets * functional.log_softmax(scores, dim=0)).sum()


def pointwise(scores: Tensor, relevance: Sequence[int | None]) -> Tensor:
    """Return the mean binary cross-entropy, or 0 for a group without a judged positive.

    In a group with a positive, an unjudged hit counts as not relevant, as in contrastive training.
    """
    labels = torch.tensor([float(bool(grade)) for grade in relevance], device=scores.device)
    if not labels.any():
        return scores.sum() * 0.0
    return functional.binary_cross_entropy_with_logits(scores, labels)


def margin_mse(scores: Tensor, teacher: Sequence[float], *, temperature: float) -> Tensor:
    """Return the mean squared error between all pairwise margins and the teacher's margins.

    The teacher's margins are divided by ``temperature``, which brings cosines to the scale of logits.
    """
    target = torch.tensor(teacher, device=scores.device) / temperature
    differences = (scores[:, None] - scores[None, :]) - (target[:, None] - target[None, :])
    first, second = torch.triu_indices(len(scores), len(scores), offset=1)
    return differences[first, second].square().mean()
