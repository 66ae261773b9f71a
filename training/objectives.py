"""Stage 1 without sampling: what one-token GRPO estimates, in closed form.

One completion token makes the action set the vocabulary, of which only "0" and "1" earn anything.
With p the probability of the right digit and q that of the wrong one, the expected reward is
``accuracy * p + format * (p + q)``: one forward gives it exactly, and its gradient is the mean of
what GRPO with ``scale_rewards="none"`` draws (tests/training/test_objectives.py). Cross-entropy,
``-log p``, is the control: unlike the expected reward it has a gradient where p is near zero.

Shapes: logits (B, V) at the answer slot; labels (B,) of 0 and 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AnswerChances:
    """Probabilities at the answer slot, each of shape (B,)."""

    right: Tensor
    wrong: Tensor


def answer_chances(logits: Tensor, labels: Tensor, *, relevant_id: int, irrelevant_id: int) -> AnswerChances:
    """Return the probability of the right and of the wrong digit over the whole vocabulary."""
    chances = torch.softmax(logits.float(), dim=-1)
    relevant, irrelevant = chances[:, relevant_id], chances[:, irrelevant_id]
    positive = labels.bool()
    return AnswerChances(torch.where(positive, relevant, irrelevant), torch.where(positive, irrelevant, relevant))


def expected_reward(chances: AnswerChances, *, accuracy_weight: float, format_weight: float) -> Tensor:
    """Return each pair's expected reward, shape (B,)."""
    return accuracy_weight * chances.right + format_weight * (chances.right + chances.wrong)


def exact_loss(chances: AnswerChances, *, accuracy_weight: float, format_weight: float) -> Tensor:
    """Return minus the mean expected reward."""
    return -expected_reward(chances, accuracy_weight=accuracy_weight, format_weight=format_weight).mean()


def cross_entropy_loss(chances: AnswerChances) -> Tensor:
    """Return the mean of -log p(right digit)."""
    return -chances.right.clamp_min(1e-12).log().mean()


def reference_divergence(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """Return the exact mean KL(policy || reference) at the answer slot."""
    policy = torch.log_softmax(logits.float(), dim=-1)
    reference = torch.log_softmax(reference_logits.float(), dim=-1)
    return (policy.exp() * (policy - reference)).sum(dim=-1).mean()
