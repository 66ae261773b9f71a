"""Move outliers from activations into weights before 8-bit quantisation; this changes no score.

Some channels of a language model's activations are many times larger than the others, so that one scale
a row is too coarse for the others. If such a channel is divided by s, and the weights that read
it are multiplied by s, the result is the same (SmoothQuant, arXiv 2211.10438). The division is folded into the
norm before the attention and the MLP, and into the rows of ``up_proj`` before ``down_proj``, so that it
costs nothing at run time.

Two choices were made by measurement on SmolLM2-135M (docs/log/export.md). For s, the paper uses the maximum of a channel; here it is
the root mean square, after each row is scaled to a largest value of 1, so that a few massive tokens do not dominate.
The exponent is 0.5.
"""

from collections.abc import Callable
from typing import Any

import torch

from onnx_export.inputs import FLOOR, sums_of_inputs

EXPONENT = 0.5


def smooth(model: Any, run: Callable[[], None]) -> None:
    """Rescale the weights of a Llama-family model in place.

    Args:
        model: A transformers causal LM with ``model.layers``.
        run: Runs the model on calibration texts.
    """
    squares = _channel_squares(model, run)
    with torch.no_grad():
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            readers = [attention.q_proj, attention.k_proj, attention.v_proj]
            layer.input_layernorm.weight.div_(_rescale(readers, squares[attention.q_proj]))
            readers = [mlp.gate_proj, mlp.up_proj]
            layer.post_attention_layernorm.weight.div_(_rescale(readers, squares[mlp.gate_proj]))
            mlp.up_proj.weight.div_(_rescale([mlp.down_proj], squares[mlp.down_proj])[:, None])


def _rescale(readers: list[torch.nn.Linear], squares: torch.Tensor) -> torch.Tensor:
    """Multiply the readers' columns by their scales; return the scales."""
    activation = squares.sqrt().clamp(min=FLOOR)
    weight = torch.stack([reader.weight.abs().amax(0) for reader in readers]).amax(0).clamp(min=FLOOR)
    scale = activation**EXPONENT / weight ** (1 - EXPONENT)
    scale /= scale.log().mean().exp()
    for reader in readers:
        reader.weight.mul_(scale)
    return scale


def _channel_squares(model: Any, run: Callable[[], None]) -> dict[torch.nn.Module, torch.Tensor]:
    """Return for each product the sum of squares of each channel of its row-scaled inputs; only the ratios of channels matter."""
    products = [
        product for layer in model.model.layers for product in (layer.self_attn.q_proj, layer.mlp.gate_proj, layer.mlp.down_proj)
    ]
    with sums_of_inputs(products, lambda rows: rows.square().sum(0)) as sums:
        run()
    return sums
