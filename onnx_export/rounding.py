"""Round weights to 8 bits so that the outputs of products change least, instead of rounding each weight to the nearest step.

Rounding a weight changes its product by the error times the input. Inputs are correlated, so the weights that are rounded later
can correct the errors of the earlier ones. This is GPTQ (arXiv 2210.17323), with one scale for each output, and the largest
inputs first. The graph holds as many integers as before, only with other values: this costs nothing at run time.

Two differences from the paper: the largest weight of each output keeps its step of 127, so that the scale can be read back from the
rounded weights; and each row of inputs is scaled to a largest value of 1 first, as in ``onnx_export.smoothing``, so that a few
massive tokens do not dominate.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from onnx_export.cores import side_by_side
from onnx_export.inputs import FLOOR, sums_of_inputs
from onnx_export.steps import Report, ticks

STEPS = 127
DAMPING = 0.01
"""This share of the mean square of the inputs is added to each square: a few calibration texts give only an estimate."""
STRETCHES = (128, 8, 1)
"""How many inputs are rounded before the later ones are corrected: stretches within stretches, so that most of the correction is
done in large matrix products."""
MEMORY_BYTES = 2**30
"""Memory for the sums of inputs; a model that needs more is calibrated a few layers at a time."""
BANDS = 4
"""Bands of the symmetric (K, K) sums: with four, 10 of 16 blocks are computed, and the others are mirrored from them."""
PIECE_WEIGHTS = 2**22
"""Weights that one core rounds at a time; it holds five copies of them."""


def round_weights(
    model: Any, run: Callable[[], None], report: Report, *, skip: Callable[[str], bool] = lambda name: False
) -> None:
    """Round the products of a Llama-family model in place, to multiples of 1/127 of each output's largest weight.

    Args:
        model: A transformers causal LM with ``model.layers``.
        run: Runs the model on calibration texts.
        skip: Whether a product, such as ``layers.2.mlp.down_proj``, is left unchanged.
    """
    names = {product: name.removeprefix("model.") for name, product in model.named_modules()}
    readers = (products for layer in model.model.layers for products in _by_input(layer))
    chosen = ([product for product in products if not skip(names[product])] for products in readers)
    for some in _in_memory(products for products in chosen if products):
        squares = _squares((products[0] for products in some), run)

        def round_some(alike: Sequence[Sequence[torch.nn.Linear]]) -> None:
            _round_together(alike, squares)  # noqa: B023 - it is called within this turn

        pieces = _alike(some, torch.get_num_threads())
        side_by_side(round_some, pieces, ticks(report, "round the weights", len(pieces)))


def rounded(weights: torch.Tensor, squares: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the weights (M, N, K) of M products, rounded to steps of each output's scale.

    Args:
        squares: For each of the M products the (K, K) sums over rows of one input times another.
    """
    scales = weights.abs().amax(2).clamp(min=1e-12) / STEPS
    orders = torch.stack([square.diagonal().argsort(descending=True) for square in squares])
    factors = torch.stack([_factor(square[order][:, order]) for square, order in zip(squares, orders, strict=True)])
    # (M, K, N): all outputs of an input lie side by side
    left = weights.transpose(1, 2).gather(1, orders[:, :, None].expand(-1, -1, weights.shape[1])).contiguous()
    largest = left.abs().argmax(1)
    ends = STEPS * left.gather(1, largest[:, None])[:, 0].sign()
    steps, errors = torch.empty_like(left), torch.empty_like(left)

    def round_inputs(start: int, end: int, sizes: Sequence[int]) -> None:
        """Round the weights of the inputs from ``start`` to ``end``, and correct the later ones of the same stretch."""
        if not sizes:
            step = (left[:, start] / scales).round_().clamp_(-STEPS, STEPS)
            steps[:, start] = step.where(largest != start, ends)
            errors[:, start] = (left[:, start] - steps[:, start] * scales) / factors[:, start, start, None]
            return
        for first in range(start, end, sizes[0]):
            last = min(first + sizes[0], end)
            round_inputs(first, last, sizes[1:])
            left[:, last:end].baddbmm_(factors[:, first:last, last:end].mT, errors[:, first:last], alpha=-1)

    round_inputs(0, left.shape[1], STRETCHES)
    places = orders.argsort(1)[:, :, None].expand_as(steps)
    return (steps.gather(1, places) * scales[:, None]).transpose(1, 2)


def _factor(squares: torch.Tensor) -> torch.Tensor:
    """Return the upper Cholesky factor of the inverse: its rows say how later inputs correct an error.

    With the order of the inputs reversed, the factor of the sums themselves is upper too; its inverse is the result.
    """
    exact = squares.double()
    exact.diagonal().add_(DAMPING * exact.diagonal().mean() + FLOOR)
    upper = torch.linalg.cholesky(exact.flip(0, 1)).flip(0, 1).float()
    factor: torch.Tensor = torch.linalg.solve_triangular(upper, torch.eye(len(upper)), upper=True)
    return factor


def _alike(inputs: Iterable[list[torch.nn.Linear]], pieces: int) -> list[list[list[torch.nn.Linear]]]:
    """Group the inputs whose products have the same shapes, the largest first, and split each group into ``pieces`` or more.

    Rounding goes input by input in small operations: one operation on many layers costs little more than on one layer.
    """
    kinds: dict[tuple[torch.Size, ...], list[list[torch.nn.Linear]]] = {}
    for products in inputs:
        kinds.setdefault(tuple(product.weight.shape for product in products), []).append(products)
    largest = sorted(kinds.values(), key=lambda alike: -sum(product.weight.numel() for product in alike[0]))
    parts = []
    for alike in largest:
        weights = len(alike) * sum(product.weight.numel() for product in alike[0])
        count = min(len(alike), max(pieces, math.ceil(weights / PIECE_WEIGHTS)))
        parts += [alike[part::count] for part in range(count)]
    return parts


def _round_together(inputs: Sequence[Sequence[torch.nn.Linear]], squares: dict[torch.nn.Module, torch.Tensor]) -> None:
    with torch.no_grad():
        weights = torch.stack([torch.cat([product.weight for product in products]) for products in inputs])
        for products, whole in zip(inputs, rounded(weights, [squares.pop(products[0]) for products in inputs]), strict=True):
            for product, weight in zip(products, whole.split([len(product.weight) for product in products]), strict=True):
                product.weight.copy_(weight)


def _by_input(layer: Any) -> Iterator[list[torch.nn.Linear]]:
    """Yield a layer's products; those that read the same input come together."""
    attention, mlp = layer.self_attn, layer.mlp
    yield [attention.q_proj, attention.k_proj, attention.v_proj]
    yield [attention.o_proj]
    yield [mlp.gate_proj, mlp.up_proj]
    yield [mlp.down_proj]


def _in_memory(inputs: Iterable[list[torch.nn.Linear]]) -> Iterator[list[list[torch.nn.Linear]]]:
    """Yield as many inputs at a time as fit into ``MEMORY_BYTES``, at least one."""
    some: list[list[torch.nn.Linear]] = []
    taken = 0
    for products in inputs:
        wanted = 8 * products[0].in_features ** 2
        if some and taken + wanted > MEMORY_BYTES:
            yield some
            some, taken = [], 0
        some.append(products)
        taken += wanted
    if some:
        yield some


def _squares(products: Iterable[torch.nn.Linear], run: Callable[[], None]) -> dict[torch.nn.Module, torch.Tensor]:
    """Return for each product the (K, K) sums over rows of one scaled input times another."""
    chosen = list(products)
    with sums_of_inputs(chosen, upper_squares) as sums:
        run()
    return {product: mirrored(sums.pop(product), product.in_features) for product in chosen}


def upper_squares(rows: torch.Tensor) -> torch.Tensor:
    """Return the upper part of ``rows.T @ rows`` for rows (T, K), band after band; each band begins at the diagonal."""
    size = rows.shape[1]
    flat = rows.new_empty(sum((end - start) * (size - start) for start, end in _bands(size)))
    for start, end, band in _split(flat, size):
        torch.mm(rows[:, start:end].T, rows[:, start:], out=band)
    return flat


def mirrored(flat: torch.Tensor, size: int) -> torch.Tensor:
    """Return the whole (K, K) sums from the upper part that ``upper_squares`` returns."""
    squares = flat.new_empty(size, size)
    for start, end, band in _split(flat, size):
        squares[start:, start:end] = band.T
        squares[start:end, start:] = band
    return squares


def _split(flat: torch.Tensor, size: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield for each band its first input, the input after its last, and its part of ``flat``."""
    bands = _bands(size)
    for (start, end), part in zip(bands, flat.split([(end - start) * (size - start) for start, end in bands]), strict=True):
        yield start, end, part.view(end - start, size - start)


def _bands(size: int) -> list[tuple[int, int]]:
    return list(pairwise(size * part // BANDS for part in range(BANDS + 1)))
