"""Train in several processes under ``accelerate launch``.

Every process holds the whole model with the same weights. Each trains on a part of a step's groups,
and the gradients are averaged before the step. In a single process, nothing of this happens.
"""

from collections.abc import Sequence

import torch
from accelerate import PartialState
from torch import Tensor


def state() -> PartialState:
    """Return this process's place among all processes; the first call joins them, as ``accelerate launch`` configured it."""
    return PartialState(cpu=not torch.cuda.is_available())


def average_gradients(weights: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over all processes."""
    here = state()
    if here.num_processes == 1:
        return
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        torch.distributed.all_reduce(weight.grad)
        weight.grad /= here.num_processes
