"""What products of a model read while it runs on calibration texts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

FLOOR = 1e-5


@contextmanager
def scaled_inputs(products: Iterable[torch.nn.Linear], see: Callable[[torch.nn.Module, torch.Tensor], None]) -> Iterator[None]:
    """Show ``see`` each product's inputs (T, K) as they come, each row scaled to a largest value of 1."""

    def show(product: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        see(product, rows / rows.abs().amax(-1, keepdim=True).clamp(min=FLOOR))

    hooks = [product.register_forward_pre_hook(show) for product in products]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
