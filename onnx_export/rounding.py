"""Round weights to 8 bits so that what products give stays, rather than so that each weight is nearest.

Rounding a weight moves a product by the weight's error times its input. Inputs go together, so the weights still to be rounded
can take up what those before them did wrong: GPTQ (arXiv 2210.17323), with a scale for each output, the inputs with the most
weight first. The graph then holds the same number of the same integers, only others: it costs nothing at run time.

Ours: the largest weight of each output keeps its step of 127, so that the scale is read back from the rounded weights; and inputs
count after each row is scaled to a largest value of 1, as in ``onnx_export.smoothing``, so that a few massive tokens do not decide.
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
"""Of the mean square of an input, added to each: what few calibration texts say is not trusted to the last digit."""
STRETCHES = (128, 8, 1)
"""Inputs that are rounded before those behind them hear of it: stretches within stretches, so that most is told in large products."""
MEMORY_BYTES = 2**30
"""For what is known of inputs; models with more are calibrated some layers at a time."""
BANDS = 4
"""In which sums of products of inputs are taken: with four, 10 of 16 blocks are computed, and the others are the same mirrored."""
PIECE_WEIGHTS = 2**22
"""Rounded at a time by one core, of which it holds five copies."""


def round_weights(
    model: Any, run: Callable[[], None], report: Report, *, skip: Callable[[str], bool] = lambda name: False
) -> None:
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

        def round_some(alike: Sequence[Sequence[torch.nn.Linear]]) -> None:
            _round_together(alike, squares)  # noqa: B023 - it is called within this turn

        pieces = _alike(some, torch.get_num_threads())
        side_by_side(round_some, pieces, ticks(report, "round the weights", len(pieces)))


def rounded(weights: torch.Tensor, squares: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return weights (M, N, K), of M products side by side, in steps of their outputs' scales.

    Args:
        squares: M times (K, K) sums of products of inputs.
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
        """Round the inputs from ``start`` to ``end``, and tell those behind them within the same stretch."""
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
    """Return the upper Cholesky factor of the inverse: its rows say how later inputs make up for an error.

    With the order of inputs turned around, the factor of the sums themselves is upper too, and its inverse is what is asked for.
    """
    exact = squares.double()
    exact.diagonal().add_(DAMPING * exact.diagonal().mean() + FLOOR)
    upper = torch.linalg.cholesky(exact.flip(0, 1)).flip(0, 1).float()
    factor: torch.Tensor = torch.linalg.solve_triangular(upper, torch.eye(len(upper)), upper=True)
    return factor


def _alike(inputs: Iterable[list[torch.nn.Linear]], pieces: int) -> list[list[list[torch.nn.Linear]]]:
    """Return inputs whose products have the same shapes together, the largest first, each kind in ``pieces`` or more.

    Rounding goes input by input in small operations: those of many layers at once cost little more than those of one.
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
        wanted = 8 * products[0].in_features ** 2
        if some and taken + wanted > MEMORY_BYTES:
            yield some
            some, taken = [], 0
        some.append(products)
        taken += wanted
    if some:
        yield some


def _squares(products: Iterable[torch.nn.Linear], run: Callable[[], None]) -> dict[torch.nn.Module, torch.Tensor]:
    """Return (K, K) sums of products of row-scaled inputs, for each product."""
    chosen = list(products)
    with sums_of_inputs(chosen, upper_squares) as sums:
        run()
    return {product: mirrored(sums.pop(product), product.in_features) for product in chosen}


def upper_squares(rows: torch.Tensor) -> torch.Tensor:
    """Return sums of products of inputs (T, K), band after band, each from the diagonal on: below it stands the same once more."""
    size = rows.shape[1]
    flat = rows.new_empty(sum((end - start) * (size - start) for start, end in _bands(size)))
    for start, end, band in _split(flat, size):
        torch.mm(rows[:, start:end].T, rows[:, start:], out=band)
    return flat


def mirrored(flat: torch.Tensor, size: int) -> torch.Tensor:
    """Return the whole (K, K) of which ``upper_squares`` gives a part."""
    squares = flat.new_empty(size, size)
    for start, end, band in _split(flat, size):
        squares[start:, start:end] = band.T
        squares[start:end, start:] = band
    return squares


def _split(flat: torch.Tensor, size: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield each band's first input and the one behind its last, and its place in ``flat``."""
    bands = _bands(size)
    for (start, end), part in zip(bands, flat.split([(end - start) * (size - start) for start, end in bands]), strict=True):
        yield start, end, part.view(end - start, size - start)


def _bands(size: int) -> list[tuple[int, int]]:
    return list(pairwise(size * part // BANDS for part in range(BANDS + 1)))
