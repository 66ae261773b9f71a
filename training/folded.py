"""A LoRA layer that folds its adapter into the weight before the product, for training in float32 on a CPU.

PEFT computes ``x W' + x A' B' * scale`` (``'``: transposed): two thin products and two passes over the result more than the
base layer. Here ``W + scale * B A`` is computed once a step, and the forward pass is one product. The gradients of A and B come
from the same chain rule, by four thin products and without the dense gradient of W:

    dA = scale * (dy B)' x        dB = scale * dy' (x A')        dx = dy (W + scale * B A)

So the losses equal those of PEFT's layer, except for rounding. In bfloat16 the folded weight would lose what a small adapter
adds, so PEFT's layer is used there.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor


class FoldedLinear(Linear):
    """PEFT's LoRA layer; in training in float32 without dropout, its adapter is folded into the weight."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what PEFT's layer returns, shape (..., out features)."""
        if not self._can_fold() or args or kwargs:
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        name = self.active_adapters[0]
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        product: Tensor = _Folded.apply(x, self._folded(down, up, self.scaling[name]), down, up, self.scaling[name])
        bias = self.get_base_layer().bias
        return product if bias is None else product + bias

    def _can_fold(self) -> bool:
        names = self.active_adapters
        return (
            torch.is_grad_enabled()  # a tensor made in inference mode cannot be used in training
            and len(names) == 1
            and not self.merged
            and not self.disable_adapters
            and not self.lora_variant
            and isinstance(self.lora_dropout[names[0]], torch.nn.Identity)
            and self.get_base_layer().weight.dtype == torch.float32
            and self.lora_A[names[0]].bias is None
            and self.lora_B[names[0]].bias is None
        )

    def _folded(self, down: Tensor, up: Tensor, scale: float) -> Tensor:
        """Return the base weight with the adapter added; it is computed again when A or B has changed."""
        state = (down.data_ptr(), down._version, up.data_ptr(), up._version)
        if getattr(self, "_folded_state", None) != state:
            with torch.no_grad():
                self._folded_weight = torch.addmm(self.get_base_layer().weight, up, down, alpha=scale)
            self._folded_state = state
        return self._folded_weight


class _Folded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        context.save_for_backward(x, weight, down, up)
        context.scale = scale
        return x @ weight.T

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up = context.saved_tensors
        rows, given = x.reshape(-1, x.shape[-1]), gradients[0].reshape(-1, gradients[0].shape[-1])
        to_x, _, to_down, to_up, _ = context.needs_input_grad
        return (
            (given @ weight).view_as(x) if to_x else None,
            None,
            context.scale * (given @ up).T @ rows if to_down else None,
            context.scale * given.T @ (rows @ down.T) if to_up else None,
            None,
        )
