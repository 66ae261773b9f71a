"""Find the few layers whose ``down_proj`` suffers from 8-bit activations, so that only these pay for two steps.

Outliers sit in a handful of layers: of SmolLM2-135M's thirty, trained to rerank, seven have more than twice the median's error, one of
them eighteen times (docs/log/engine.md). The error of a product is what quantising its input by rows does to its output, beside
the residual stream that the output is added to, over calibration texts. Runs after smoothing.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import torch

OUTLIERS = "outliers"
"""Stands for the products found here, among names of products (``onnx_export.export.export``)."""
TIMES_MEDIAN = 2.0
SINK_TOKENS = 4
"""The first tokens of a text hold values a thousand times those of others, and nothing reads them as content."""


def outlier_products(model: Any, run: Callable[[], None]) -> list[str]:
    """Return names such as ``layers.11.mlp.down_proj``, in the order of layers.

    Args:
        model: A transformers causal LM with ``model.layers``.
        run: Runs the model on calibration texts.
    """
    layers = model.model.layers
    wrong, stream = torch.zeros(2, len(layers), dtype=torch.double)  # exact enough that the order of texts does not matter
    lock = Lock()

    def watch(place: int) -> list[Any]:
        def product(module: torch.nn.Linear, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
            error = torch.nn.functional.linear(_in_8_bits(inputs[0]) - inputs[0], module.weight)
            found = error[:, SINK_TOKENS:].double().square().sum()
            with lock:
                wrong[place] += found

        def whole(_: torch.nn.Module, __: tuple[Any, ...], output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            found = hidden[:, SINK_TOKENS:].double().square().sum()
            with lock:
                stream[place] += found

        return [layers[place].mlp.down_proj.register_forward_hook(product), layers[place].register_forward_hook(whole)]

    hooks = [hook for place in range(len(layers)) for hook in watch(place)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    share = (wrong / stream.clamp(min=1e-12)).sqrt()
    return [f"layers.{place}.mlp.down_proj" for place in range(len(layers)) if share[place] > TIMES_MEDIAN * share.median()]


def _in_8_bits(x: torch.Tensor) -> torch.Tensor:
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return torch.round(x / scale) * scale
