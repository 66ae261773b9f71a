"""What products of a model read while it runs on calibration texts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import torch

FLOOR = 1e-5


@contextmanager
def sums_of_inputs(
    products: Iterable[torch.nn.Linear], of: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[dict[torch.nn.Module, torch.Tensor]]:
    """Yield what ``of`` says of each product's inputs (T, K), each row scaled to a largest value of 1, summed as they come.

    They are in single precision, and added up in double precision: in whatever order texts come, from however many threads, they
    are the same.
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
