"""The closed form of stage 1, compared with sampling."""

import pytest
import torch

from training.objectives import answer_chances, cross_entropy_loss, exact_loss, reference_divergence, zero_variance_share
from training.rewards import couple_reward, format_reward

VOCABULARY = ["0", "1", "The", " 1", "a"]
LABELS = torch.tensor([1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize("normalise", [False, True])
def test_sampled_and_exact_gradients_of_the_joint_reward_agree_in_expectation(normalise: bool) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(6, len(VOCABULARY)) + torch.tensor([1.5, 1.5, 0, 0, 0])).requires_grad_()
    chances = answer_chances(logits, LABELS, relevant_id=1, irrelevant_id=0)
    (exact,) = torch.autograd.grad(exact_loss(chances, accuracy_weight=1.0, format_weight=0.3, normalise=normalise), logits)

    sampled = _group_gradient(logits, draws=40_000, normalise=normalise)

    assert torch.allclose(sampled, exact, rtol=0, atol=0.06 * float(exact.abs().max()))


def _group_gradient(logits: torch.Tensor, *, draws: int, normalise: bool) -> torch.Tensor:
    """Return GRPO's estimate, with the group's mean reward as the baseline and its standard deviation as the scale."""
    log_chances = torch.log_softmax(logits, dim=-1)
    drawn = torch.multinomial(log_chances.exp().detach(), draws, replacement=True)
    texts = [VOCABULARY[token] for token in drawn.flatten().tolist()]
    answers = [str(int(label)) for label in LABELS for _ in range(draws)]
    couples = [str(row // 2) for row in range(len(LABELS)) for _ in range(draws)]
    joint, legal = couple_reward(texts, answers, couples), format_reward(texts)
    rewards = torch.tensor([j + 0.3 * f for j, f in zip(joint, legal, strict=True)]).reshape(len(LABELS), draws)
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if normalise:
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + 1e-4)
    loss = -(advantages * log_chances.gather(1, drawn)).mean(dim=1).mean()
    return torch.autograd.grad(loss, logits)[0]


def _leaning(margin: float) -> torch.Tensor:
    """Return the logits of two couples whose documents all get the same margin."""
    return torch.tensor([[-margin / 2, margin / 2, -9.0]] * 4, requires_grad=True)


def test_couples_reduce_the_bias_of_a_model_to_one_digit() -> None:
    for margin in (2.0, -2.0):
        logits = _leaning(margin)
        chances = answer_chances(logits, torch.tensor([1, 0, 1, 0]), relevant_id=1, irrelevant_id=0)
        loss = exact_loss(chances, accuracy_weight=1.0, format_weight=0.0, normalise=False)
        (gradient,) = torch.autograd.grad(loss, logits)
        pull = (gradient[:, 1] - gradient[:, 0]).sum()  # a step goes against the gradient
        assert pull * margin > 0.01


def test_a_constant_answer_gets_no_reward_from_couples() -> None:
    answers, couples = ["1", "1", "0", "0"], ["a"] * 4
    assert couple_reward(["1", "1", "1", "1"], answers, couples) == [0.0] * 4
    assert couple_reward(["0", "0", "0", "0"], answers, couples) == [0.0] * 4
    assert couple_reward(["1", "0", "0", "0"], answers, couples) == [1.0, 0.0, 1.0, 0.0]


def test_a_draw_is_paired_with_its_partners_draw_at_any_place_in_the_batch() -> None:
    completions, answers, couples = ["1", "0", "1", "0", "1"], ["1", "0", "1", "0", "1"], ["a", "b", "b", "a", "c"]
    assert couple_reward(completions, answers, couples) == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_couples_that_are_always_right_or_always_wrong_teach_nothing() -> None:
    assert zero_variance_share(torch.tensor([0.0, 1.0]), 8) == 1.0
    assert zero_variance_share(torch.tensor([0.5]), 8) == pytest.approx(2 * 0.5**8)


def test_cross_entropy_has_a_gradient_even_if_the_expected_reward_has_none() -> None:
    logits = torch.tensor([[0.0, -12.0, 6.0], [-12.0, 0.0, 6.0]], requires_grad=True)
    chances = answer_chances(logits, torch.tensor([1, 0]), relevant_id=1, irrelevant_id=0)
    loss = exact_loss(chances, accuracy_weight=1, format_weight=0, normalise=False)
    (flat,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (steep,) = torch.autograd.grad(cross_entropy_loss(chances), logits)
    assert flat.abs().max() < 1e-6 < 0.4 < steep.abs().max()


def test_the_divergence_of_a_model_from_itself_is_zero() -> None:
    logits = torch.randn(3, 7)
    assert float(reference_divergence(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(reference_divergence(logits, torch.zeros(3, 7))) > 0
