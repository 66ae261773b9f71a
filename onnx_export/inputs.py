"""Collect statistics of the inputs of a model's products while it runs on calibration texts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import torch

FLOOR = 1e-5


@contextmanager
def sums_of_inputs(
    products: Iterable[torch.nn.Linear], of: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[dict[torch.nn.Module, torch.Tensor]]:
    """Yield for each product the sum of ``of(rows)`` over its inputs (T, K), each row scaled to a largest value of 1.

    The parts are computed in single precision and summed in double precision, so that the sums do not depend on the order of
    the texts or on the number of threads.
    """
    sums: dict[torch.nn.Module, torch.Tensor] = {}
    lock = Lock()

    def add(product: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        found = of(rows / rows.abs().amax(-1, keepdim=True).clamp(min=FLOOR))
        with lock:
            if product in sums:
                sums[product] += found
            else:
                sums[product] = found.double()

    hooks = [product.register_forward_pre_hook(add) for product in products]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
    for product in sums:
        sums[product] = sums[product].float()
