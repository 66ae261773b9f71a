"""The optimizer steps and the checkpoints of both stages."""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, parallel
from training.config import OptimizerConfig, StageConfig

log = logging.getLogger(__name__)


class Stepper:
    """Adam steps on float32 masters of the trained weights, with the configured schedule."""

    def __init__(self, model: Any, config: OptimizerConfig, steps: int) -> None:
        self.model, self.config, self.steps = model, config, steps
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self.names = [name for name, _ in trained]
        self._weights = [weight for _, weight in trained]
        self.masters = [weight.detach().float().clone().requires_grad_() for weight in self._weights]
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    def learning_rate(self, step: int) -> float:
        """Return the rate of a 1-based step: linear rise, plateau, linear fall to zero."""
        config = self.config
        rise = min(1.0, step / max(1, config.warmup_steps))
        decay_steps = max(1.0, config.decay_share * self.steps)
        fall = min(1.0, (self.steps - step + 1) / decay_steps)
        return config.learning_rate * min(rise, fall)

    def step(self, step: int) -> float:
        """Apply the gathered gradients and clear them; return their norm before clipping."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        for master, weight in zip(self.masters, self._weights, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float() / self.config.groups_per_step
            weight.grad = None
        parallel.average_gradients(self.masters)
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.config.max_gradient_norm))
        self.optimizer.step()
        self.write_back()
        return norm

    def write_back(self) -> None:
        """Copy the masters into the model."""
        with torch.no_grad():
            for master, weight in zip(self.masters, self._weights, strict=True):
                weight.copy_(master)

    def save(self, step: int, config: StageConfig) -> Path:
        """Write a checkpoint after ``step`` and return its folder; of several processes, only the first writes."""
        place = config.output / f"{checkpoint.PREFIX}{step:06d}"
        if not parallel.state().is_main_process:
            return place
        state = checkpoint.optimizer_state(self.optimizer, self.names, self.masters)
        progress = {"config": json.loads(config.model_dump_json())}
        checkpoint.save_checkpoint(
            config.output, step, self.model, state, progress, keep=config.keep_checkpoints, layers=config.model.adapter_layers
        )
        log.info("checkpoint path=%s step=%d", place, step)
        return place

    def resume(self, output: Path) -> int:
        """Restore the newest checkpoint and return its step; 0 if there is none."""
        found = checkpoint.checkpoints(output)
        if not found:
            return 0
        state, progress = checkpoint.load_checkpoint(found[-1])
        checkpoint.restore_optimizer(self.optimizer, self.names, self.masters, state)
        self.write_back()
        log.info("resume path=%s step=%d", found[-1], progress["step"])
        return int(progress["step"])
