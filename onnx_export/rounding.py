"""Round weights to 8 bits so that what products give stays, rather than so that each weight is nearest.

Rounding a weight moves a product by the weight's error times its input. Inputs go together, so the weights still to be rounded
can take up what those before them did wrong: GPTQ (arXiv 2210.17323), with a scale for each output, the inputs with the most
weight first. The graph then holds the same number of the same integers, only others: it costs nothing at run time.

Ours: the largest weight of each output keeps its step of 127, so that the scale is read back from the rounded weights; and inputs
count after each row is scaled to a largest value of 1, as in ``onnx_export.smoothing``, so that a few massive tokens do not decide.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from onnx_export.cores import side_by_side
from onnx_export.inputs import FLOOR, scaled_inputs

STEPS = 127
DAMPING = 0.01
"""Of the mean square of an input, added to each: what few calibration texts say is not trusted to the last digit."""
STRETCHES = (128, 8, 1)
"""Inputs that are rounded before those behind them hear of it: stretches within stretches, so that most is told in large products."""
MEMORY_BYTES = 2**30
"""For what is known of inputs; models with more are calibrated some layers at a time."""


def round_weights(model: Any, run: Callable[[], None], *, skip: Callable[[str], bool] = lambda name: False) -> None:
    """Round the products of a Llama-family model in place, to multiples of 1/127 of each output's largest weight.

    Args:
        model: A transformers causal LM with ``model.layers``.
        run: Runs the model on calibration texts.
        skip: Whether a product, such as ``layers.2.mlp.down_proj``, is left as it is.
    """
    names = {product: name.removeprefix("model.") for name, product in model.named_modules()}
    readers = (products for layer in model.model.layers for products in _by_input(layer))
    chosen = ([product for product in products if not skip(names[product])] for products in readers)
    for some in _in_memory(products for products in chosen if products):
        squares = _squares((products[0] for products in some), run)
        side_by_side(partial(_round_together, squares), some)


def rounded(weight: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Return a weight (N, K) in steps of its outputs' scales.

    Args:
        squares: (K, K) sums of products of inputs.
    """
    scale = weight.abs().amax(1).clamp(min=1e-12) / STEPS
    order = squares.diagonal().argsort(descending=True)
    factor = _factor(squares[order][:, order])
    left = weight[:, order].T.contiguous()  # (K, N): all outputs of an input lie side by side
    largest = left.abs().argmax(0)
    ends = STEPS * left.gather(0, largest[None])[0].sign()
    steps, errors = torch.empty_like(left), torch.empty_like(left)

    def round_inputs(start: int, end: int, sizes: Sequence[int]) -> None:
        """Round the inputs from ``start`` to ``end``, and tell those behind them within the same stretch."""
        if not sizes:
            step = (left[start] / scale).round().clamp(-STEPS, STEPS)
            steps[start] = torch.where(largest == start, ends, step)
            errors[start] = (left[start] - steps[start] * scale) / factor[start, start]
            return
        for first in range(start, end, sizes[0]):
            last = min(first + sizes[0], end)
            round_inputs(first, last, sizes[1:])
            left[last:end].addmm_(factor[first:last, last:end].T, errors[first:last], alpha=-1)

    round_inputs(0, len(left), STRETCHES)
    return (steps[order.argsort()] * scale).T


def _factor(squares: torch.Tensor) -> torch.Tensor:
    """Return the upper Cholesky factor of the inverse: its rows say how later inputs make up for an error."""
    exact = squares.double()
    exact.diagonal().add_(DAMPING * exact.diagonal().mean() + FLOOR)
    factor: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(exact)), upper=True)
    return factor.float()


def _round_together(squares: dict[torch.nn.Module, torch.Tensor], products: Sequence[torch.nn.Linear]) -> None:
    with torch.no_grad():
        whole = rounded(torch.cat([product.weight for product in products]), squares.pop(products[0]))
        for product, weight in zip(products, whole.split([len(product.weight) for product in products]), strict=True):
            product.weight.copy_(weight)


def _by_input(layer: Any) -> Iterator[list[torch.nn.Linear]]:
    """Yield a layer's products, those that read the same input together."""
    attention, mlp = layer.self_attn, layer.mlp
    yield [attention.q_proj, attention.k_proj, attention.v_proj]
    yield [attention.o_proj]
    yield [mlp.gate_proj, mlp.up_proj]
    yield [mlp.down_proj]


def _in_memory(inputs: Iterable[list[torch.nn.Linear]]) -> Iterator[list[list[torch.nn.Linear]]]:
    """Yield as many at a time as fit into ``MEMORY_BYTES``, at least one."""
    some: list[list[torch.nn.Linear]] = []
    taken = 0
    for products in inputs:
        wanted = 4 * products[0].in_features ** 2
        if some and taken + wanted > MEMORY_BYTES:
            yield some
            some, taken = [], 0
        some.append(products)
        taken += wanted
    if some:
        yield some


def _squares(products: Iterable[torch.nn.Linear], run: Callable[[], None]) -> dict[torch.nn.Module, torch.Tensor]:
    """Return (K, K) sums of products of row-scaled inputs, for each product."""
    sums: dict[torch.nn.Module, torch.Tensor] = {}

    def see(product: torch.nn.Module, rows: torch.Tensor) -> None:
        sums[product] = sums.get(product, 0) + rows.T @ rows

    with scaled_inputs(products, see):
        run()
    return sums
