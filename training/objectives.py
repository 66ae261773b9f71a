"""Stage 1 without sampling: what one-token GRPO over couples estimates, in closed form.

One completion token makes the action set the vocabulary, of which only "0" and "1" earn anything.
With p the probability of a document's right digit, p' that of its partner's and q that of its own
wrong digit, a draw's expected reward is ``accuracy * p * p' + format * (p + q)``: one forward gives
it exactly, and its gradient is the mean of what GRPO draws (tests/training/test_objectives.py).
Cross-entropy, ``-log p``, is the control: unlike the expected reward it has a gradient where p is near zero.

Shapes: logits (B, V) at the answer slot; labels (B,) of 0 and 1. Documents 2i and 2i + 1 are couple i.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_SPREAD = 1e-4
"""Added to the spread of a group's rewards before dividing by it, as TRL does."""


@dataclass(frozen=True, slots=True)
class AnswerChances:
    """Probabilities at the answer slot, each of shape (B,)."""

    right: Tensor
    wrong: Tensor

    @property
    def legal(self) -> Tensor:
        """Return the probability of either digit."""
        return self.right + self.wrong

    @property
    def both_right(self) -> Tensor:
        """Return the probability that draws of both documents of a couple are right, shape (B / 2,)."""
        return self.right[0::2] * self.right[1::2]


def answer_chances(logits: Tensor, labels: Tensor, *, relevant_id: int, irrelevant_id: int) -> AnswerChances:
    """Return the probability of the right and of the wrong digit over the whole vocabulary."""
    chances = torch.softmax(logits.float(), dim=-1)
    relevant, irrelevant = chances[:, relevant_id], chances[:, irrelevant_id]
    positive = labels.bool()
    return AnswerChances(torch.where(positive, relevant, irrelevant), torch.where(positive, irrelevant, relevant))


def exact_loss(chances: AnswerChances, *, accuracy_weight: float, format_weight: float, normalise: bool) -> Tensor:
    """Return minus the mean expected reward of a document, whose gradient is that of sampled GRPO.

    Args:
        chances: Of both documents of each couple.
        accuracy_weight: Of the joint reward.
        format_weight: Of the reward for a digit.
        normalise: Divide each document's term by the standard deviation of its rewards, as GRPO divides advantages.
    """
    partner = chances.right.detach().reshape(-1, 2).flip(1).reshape(-1)  # a draw moves its own document's policy alone
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
    """Return the expected share of couples whose draws all earn the same joint reward, and so teach nothing."""
    return float((both_right**generations + (1 - both_right) ** generations).mean())
