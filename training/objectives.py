"""Stage 1 without sampling: the expected reward of one-token GRPO over couples, in closed form.

A completion is one token of the vocabulary, and only "0" and "1" get a reward.
Let p be the probability of a document's right digit, p' that of its partner's right digit, and q that of its own
wrong digit. The expected reward of a draw is ``accuracy * p * p' + format * (p + q)``. One forward pass gives
it exactly, and its gradient is the mean of GRPO's sampled gradients (tests/training/test_objectives.py).
Cross-entropy, ``-log p``, is the control: unlike the expected reward, it has a gradient even if p is near zero.

Shapes: logits (B, V) at the answer slot; labels (B,) of 0 and 1. Documents 2i and 2i + 1 are couple i.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_SPREAD = 1e-4
"""Added to the standard deviation of a group's rewards before dividing by it, as TRL does."""


@dataclass(frozen=True, slots=True)
class AnswerChances:
    """Probabilities at the answer slot, each of shape (B,)."""

    right: Tensor
    wrong: Tensor

    @property
    def legal(self) -> Tensor:
        """The probability of either digit."""
        return self.right + self.wrong

    @property
    def both_right(self) -> Tensor:
        """The probability that the draws of both documents of a couple are right, shape (B / 2,)."""
        return self.right[0::2] * self.right[1::2]


def answer_chances(logits: Tensor, labels: Tensor, *, relevant_id: int, irrelevant_id: int) -> AnswerChances:
    """Return the probabilities of the right and of the wrong digit over the whole vocabulary."""
    chances = torch.softmax(logits.float(), dim=-1)
    relevant, irrelevant = chances[:, relevant_id], chances[:, irrelevant_id]
    positive = labels.bool()
    return AnswerChances(torch.where(positive, relevant, irrelevant), torch.where(positive, irrelevant, relevant))


def exact_loss(chances: AnswerChances, *, accuracy_weight: float, format_weight: float, normalise: bool) -> Tensor:
    """Return the negative mean expected reward of a document; its gradient is the expected gradient of GRPO.

    Args:
        chances: The probabilities for both documents of each couple.
        accuracy_weight: The weight of the joint reward.
        format_weight: The weight of the reward for a digit.
        normalise: Divide each document's term by the standard deviation of its rewards, as GRPO divides advantages.
    """
    partner = chances.right.detach().reshape(-1, 2).flip(1).reshape(-1)  # a draw changes only the policy for its own document
    joint, legal = chances.right * partner, chances.legal
    reward = accuracy_weight * joint + format_weight * legal
    if not normalise:
        return -reward.mean()
    with torch.no_grad():
        square = (accuracy_weight + format_weight) ** 2 * joint + format_weight**2 * (legal - joint)
        spread = (square - reward**2).clamp_min(0).sqrt() + SMALLEST_SPREAD
    return -(reward / spread).mean()


def cross_entropy_loss(chances: AnswerChances) -> Tensor:
    """Return the mean of -log p(right digit)."""
    return -chances.right.clamp_min(1e-12).log().mean()


def reference_divergence(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """Return the exact mean KL(policy || reference) at the answer slot."""
    policy = torch.log_softmax(logits.float(), dim=-1)
    reference = torch.log_softmax(reference_logits.float(), dim=-1)
    return (policy.exp() * (policy - reference)).sum(dim=-1).mean()


def zero_variance_share(both_right: Tensor, generations: int) -> float:
    """Return the expected share of couples whose draws all get the same joint reward, so that nothing is learnt from them."""
    return float((both_right**generations + (1 - both_right) ** generations).mean())
