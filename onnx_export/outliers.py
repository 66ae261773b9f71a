"""Find the few layers whose ``down_proj`` loses accuracy with 8-bit activations, so that only these pay for two steps.

Outliers occur in a few layers: of the thirty layers of SmolLM2-135M, trained to rerank, seven have more than twice the median
error, and one has eighteen times the median error (docs/log/engine.md). The error of a product is the change of its output when its input
is quantised by rows, relative to the residual stream that the output is added to, over calibration texts. This runs after smoothing.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import torch

OUTLIERS = "outliers"
"""The name that stands for the products found here in a list of product names (``onnx_export.export.export``)."""
TIMES_MEDIAN = 2.0
SINK_TOKENS = 4
"""The number of first tokens that are left out: their values are a thousand times larger, and they carry no content."""


def outlier_products(model: Any, run: Callable[[], None]) -> list[str]:
    """Return names such as ``layers.11.mlp.down_proj``, in the order of layers.

    Args:
        model: A transformers causal LM with ``model.layers``.
        run: Runs the model on calibration texts.
    """
    layers = model.model.layers
    wrong, stream = torch.zeros(2, len(layers), dtype=torch.double)  # so that the order of texts does not matter
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
