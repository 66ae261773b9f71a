"""Several processes under ``accelerate launch``: who am I, and whose gradients are these.

Every process holds the whole model and the same weights; each takes its share of a step's groups,
and gradients are averaged before the step. Started alone, all of this is a no-op.
"""

from collections.abc import Sequence

import torch
from accelerate import PartialState
from torch import Tensor


def state() -> PartialState:
    """Return this process's place among all, joining them on first use; ``accelerate launch`` says where it is."""
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
