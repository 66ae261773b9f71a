"""The closed form of stage 1 against sampling."""

import pytest
import torch

from training.objectives import answer_chances, cross_entropy_loss, exact_loss, reference_divergence
from training.rewards import format_reward, relevance_reward

VOCABULARY = ["0", "1", "The", " 1", "a"]


def test_sampled_and_exact_gradients_agree_in_expectation() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, len(VOCABULARY), requires_grad=True)
    labels = torch.tensor([1, 0, 1, 0, 0, 1])
    chances = answer_chances(logits, labels, relevant_id=1, irrelevant_id=0)
    (exact,) = torch.autograd.grad(exact_loss(chances, accuracy_weight=1.0, format_weight=0.3), logits)

    sampled = _group_gradient(logits, labels, draws=40_000)

    assert torch.allclose(sampled, exact, atol=2e-3)


def _group_gradient(logits: torch.Tensor, labels: torch.Tensor, *, draws: int) -> torch.Tensor:
    """GRPO's estimate with scale_rewards="none": the group's mean reward as the baseline."""
    log_chances = torch.log_softmax(logits, dim=-1)
    drawn = torch.multinomial(log_chances.exp().detach(), draws, replacement=True)
    rewards = torch.tensor(
        [
            [a + 0.3 * f for a, f in zip(relevance_reward(texts, [str(int(label))] * draws), format_reward(texts), strict=True)]
            for label, texts in zip(labels, [[VOCABULARY[i] for i in row] for row in drawn.tolist()], strict=True)
        ]
    )
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    loss = -(advantages * log_chances.gather(1, drawn)).mean(dim=1).mean()
    return torch.autograd.grad(loss, logits)[0]


def test_cross_entropy_still_has_a_gradient_where_the_expected_reward_has_none() -> None:
    logits = torch.tensor([[0.0, -12.0, 6.0]], requires_grad=True)
    labels = torch.tensor([1])
    chances = answer_chances(logits, labels, relevant_id=1, irrelevant_id=0)
    (flat,) = torch.autograd.grad(exact_loss(chances, accuracy_weight=1, format_weight=0), logits, retain_graph=True)
    (steep,) = torch.autograd.grad(cross_entropy_loss(chances), logits)
    assert flat.abs().max() < 1e-6 < 0.9 < steep.abs().max()


def test_a_model_does_not_diverge_from_itself() -> None:
    logits = torch.randn(3, 7)
    assert float(reference_divergence(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(reference_divergence(logits, torch.zeros(3, 7))) > 0
