"""Weights are rounded so that the outputs of products change least."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from onnx_export import rounding
from onnx_export.rounding import STEPS, mirrored, round_weights, rounded, upper_squares


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(48, 200, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def inputs() -> torch.Tensor:
    """Return correlated inputs (T, K), as in a model: 16 directions and a little noise."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(600, 16, generator=draw) @ torch.randn(16, 200, generator=draw) + 0.1 * torch.randn(
        600, 200, generator=draw
    )


def nearest(weight: torch.Tensor) -> torch.Tensor:
    scale = weight.abs().amax(1, keepdim=True) / STEPS
    return (weight / scale).round() * scale


def test_a_product_changes_much_less_than_with_each_weight_rounded_to_the_nearest_step(
    weight: torch.Tensor, inputs: torch.Tensor
) -> None:
    def moved(by: torch.Tensor) -> float:
        return float((inputs @ (by - weight).T).square().mean().sqrt())

    assert moved(rounded(weight[None], [inputs.T @ inputs])[0]) < 0.4 * moved(nearest(weight))


def test_rounding_rounded_weights_to_the_nearest_step_changes_nothing(weight: torch.Tensor, inputs: torch.Tensor) -> None:
    made = rounded(weight[None], [inputs.T @ inputs])[0]
    assert not torch.allclose(made, nearest(weight), atol=1e-4)
    assert torch.allclose(made, nearest(made), atol=1e-6)
    assert torch.allclose(made.abs().amax(1), weight.abs().amax(1))


def test_an_output_of_zeros_and_an_unseen_input_are_rounded_without_error(weight: torch.Tensor, inputs: torch.Tensor) -> None:
    weight[3] = 0
    inputs[:, 5] = 0
    made = rounded(weight[None], [inputs.T @ inputs])[0]
    assert made[3].abs().max() == 0
    assert torch.isfinite(made).all()
    assert (made[:, 5] - weight[:, 5]).abs().max() <= weight.abs().max() / STEPS


@pytest.mark.parametrize("size", [1, 3, 16, 200])
def test_mirrored_sums_equal_the_whole_sums(size: int, inputs: torch.Tensor) -> None:
    rows = inputs[:, :size]
    upper = upper_squares(rows)
    assert torch.allclose(mirrored(upper, size), rows.T @ rows, rtol=1e-6, atol=1e-4)
    assert len(upper) <= (size * size if size < 16 else 0.63 * size * size)


@pytest.fixture
def model(tiny_checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_checkpoint)


@pytest.fixture
def run(model: Any) -> Callable[[], None]:
    ids = torch.randint(0, 100, (2, 24), generator=torch.Generator().manual_seed(0))

    def on_texts() -> None:
        with torch.inference_mode():
            model(input_ids=ids, use_cache=False)

    return on_texts


@pytest.mark.parametrize("memory", [rounding.MEMORY_BYTES, 1], ids=["at once", "one input at a time"])
def test_every_product_is_rounded_except_the_skipped_ones(
    model: Any, run: Callable[[], None], memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "MEMORY_BYTES", memory)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    round_weights(model, run, lambda *_: None, skip=lambda name: name == "layers.1.mlp.up_proj")
    for name, weight in model.named_parameters():
        if "_proj" not in name or name == "model.layers.1.mlp.up_proj.weight":
            assert torch.equal(weight, before[name]), name
        else:
            assert not torch.equal(weight, before[name]), name
            assert torch.allclose(weight, nearest(weight), atol=1e-6), name
