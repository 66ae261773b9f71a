"""The folded LoRA layer gives the same scores and gradients as PEFT's layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.conftest import make_base
from training.config import ModelConfig
from training.folded import FoldedLinear
from training.model import load_model


def _model(base: Path, **more: object) -> Any:
    torch.manual_seed(3)
    model = load_model(ModelConfig.model_validate({"base": base, "adapter": {"rank": 4, "alpha": 8}, **more}))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.2)
    return model


def _layers(model: Any) -> list[FoldedLinear]:
    return [module for module in model.modules() if isinstance(module, FoldedLinear)]


def _logits(model: Any) -> Tensor:
    logits: Tensor = model(torch.tensor([[5, 9, 2, 30, 7], [1, 1, 8, 40, 2]])).logits
    return logits


def _learnt(model: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the logits of a fixed text and the gradients of a loss on them."""
    logits = _logits(model)
    model.zero_grad()
    logits.square().mean().backward()
    return logits.detach(), [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_folded_layers_give_the_logits_and_gradients_of_pefts_own(architecture: str, tmp_path: Path) -> None:
    model = _model(make_base(tmp_path / "base", architecture))
    assert _layers(model)
    assert all(layer._can_fold() for layer in _layers(model))
    folded = _learnt(model)
    for layer in _layers(model):
        layer.forward = super(FoldedLinear, layer).forward
    plain = _learnt(model)
    torch.testing.assert_close(folded[0], plain[0], atol=1e-5, rtol=1e-4)
    assert len(folded[1]) == len(plain[1]) > 0
    for one, other in zip(folded[1], plain[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_the_folded_weight_follows_each_change_of_the_adapter(base: Path) -> None:
    model = _model(base)
    before = _logits(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.zeros_like(weight))  # as an optimizer's step writes it
    after = _logits(model)
    with model.disable_adapter():
        bare = _logits(model)
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, bare, atol=1e-5, rtol=1e-4)


def test_a_model_can_be_trained_after_inference_mode(base: Path) -> None:
    model = _model(base)
    with torch.inference_mode():
        asked = _logits(model)
    logits, gradients = _learnt(model)
    torch.testing.assert_close(logits, asked, atol=1e-5, rtol=1e-4)
    assert gradients


@pytest.mark.parametrize("more", [{"dtype": "bfloat16"}, {"adapter": {"rank": 4, "dropout": 0.1}}])
def test_bfloat16_and_dropout_use_pefts_own_layer(base: Path, more: dict[str, object]) -> None:
    model = _model(base, **more)
    assert not any(layer._can_fold() for layer in _layers(model))
