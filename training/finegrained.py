"""Stage 2: fine-grained scores, ``slimrank train finegrained CONFIG``.

Follows the second stage of ProRank (arXiv 2506.03487): the score is read from the two answer
tokens and no layer is added. Departures and choices of our own, since the paper's loss is not
known: (1) a listwise loss over first-stage hits against labels mixed with a teacher's soft
targets; (2) one forward of the shared prefix a group; (3) LoRA, optionally on the upper layers
alone; (4) weights in bfloat16 with float32 masters of what is trained; (5) a warm-up, stable,
decay schedule, so that a run can be lengthened while it is in its stable part.

Killed at any moment, the same command goes on from the newest checkpoint and passes through the
same losses: the order of groups and the cuts of documents depend on the seed and the step alone.
"""

import json
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK, PromptEncoder
from training import checkpoint, losses
from training.config import FinegrainedConfig, LossConfig, OptimizerConfig
from training.data import Group, read_groups
from training.model import GroupScorer, load_model, tokenizer_file
from training.progress import RunLog

log = logging.getLogger(__name__)


def train(config: FinegrainedConfig) -> Path:
    """Run stage 2 to its last step and return the last checkpoint's folder.

    Raises:
        ConfigError: the configuration does not fit the data or the model, the loss is not a
            finite number, or a checkpoint cannot be written.
        DataError: the groups cannot be read.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    groups = read_groups(config.groups)
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(config.model.base))))
    model = load_model(config.model)
    scorer = GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id).train()
    stepper = Stepper(scorer, config.optimizer, config.steps)
    first_step = _resume(config.output, stepper)
    last_saved = time.monotonic()
    with RunLog(config.output, steps=config.steps, first_step=first_step) as run_log:
        for step in range(first_step + 1, config.steps + 1):
            started = time.monotonic()
            values = _step(step, groups, encoder, stepper, config)
            run_log.write(step, {**values, "seconds": round(time.monotonic() - started, 3)})
            if time.monotonic() - last_saved > config.checkpoint_minutes * 60:
                _save(config, step, stepper)
                last_saved = time.monotonic()
    return _save(config, config.steps, stepper)


class Stepper:
    """Adam steps on float32 masters of the trained weights, with the configured schedule."""

    def __init__(self, scorer: GroupScorer, config: OptimizerConfig, steps: int) -> None:
        self.scorer, self.config, self.steps = scorer, config, steps
        trained = [(name, weight) for name, weight in scorer.model.named_parameters() if weight.requires_grad]
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
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.config.max_gradient_norm))
        self.optimizer.step()
        self.write_back()
        return norm

    def write_back(self) -> None:
        """Copy the masters into the model."""
        with torch.no_grad():
            for master, weight in zip(self.masters, self._weights, strict=True):
                weight.copy_(master)


@dataclass(frozen=True, slots=True)
class GroupLoss:
    """The loss of one group and what is worth logging of it."""

    loss: Tensor
    listwise: float
    scores: Tensor


def group_loss(scores: Tensor, group: Group, config: LossConfig) -> GroupLoss:
    """Return the weighted loss of a group's scores, shape (N,)."""
    if config.kind == "margin_mse":
        ranking = losses.margin_mse(scores, group.teacher, temperature=config.teacher_temperature)
    else:
        targets = losses.group_targets(
            group.relevance, group.teacher, teacher_weight=config.teacher_weight, temperature=config.teacher_temperature
        )
        ranking = losses.listwise(scores, targets.to(scores.device))
    total = ranking + config.pointwise_weight * losses.pointwise(scores, group.relevance)
    return GroupLoss(total, float(ranking.detach()), scores.detach())


def encode_group(group: Group, encoder: PromptEncoder, document_tokens: int) -> tuple[list[int], list[list[int]]]:
    """Return the shared prefix and each document's ids with the suffix, cut to ``document_tokens``."""
    prefix = encoder.prefix_ids(group.query).ids
    pieces = encoder.document_ids(group.documents, len(prefix))
    return prefix, [piece.ids[:document_tokens] + list(encoder.suffix_ids) for piece in pieces]


def group_order(count: int, steps: int, seed: int) -> list[int]:
    """Return which group each of ``steps`` group visits takes: a fresh shuffle every epoch."""
    order: list[int] = []
    epoch = 0
    while len(order) < steps:
        indices = list(range(count))
        random.Random(f"{seed}-{epoch}").shuffle(indices)
        order += indices
        epoch += 1
    return order[:steps]


def _step(
    step: int, groups: list[Group], encoder: PromptEncoder, stepper: Stepper, config: FinegrainedConfig
) -> dict[str, float | str | None]:
    per_step = config.optimizer.groups_per_step
    visited = group_order(len(groups), step * per_step, config.seed)[-per_step:]
    values: dict[str, float | str | None] = {}
    total = 0.0
    for visit, index in enumerate(visited):
        group = groups[index]
        draw = random.Random(f"{config.seed}-{step}-{visit}")
        cut = draw.choices(list(config.document_tokens), weights=list(config.document_tokens.values()))[0]
        prefix, bodies = encode_group(group, encoder, cut)
        result = group_loss(stepper.scorer(prefix, bodies), group, config.loss)
        total += float(result.loss.detach()) / per_step
        if not math.isfinite(total):
            raise ConfigError(
                f"the loss of step {step} is {total} (query {group.query_id} of {group.source}); the last checkpoint is"
                " intact: lower the learning rate or use float32, then start again from it"
            )
        result.loss.backward()  # type: ignore[no-untyped-call]
        values = {"source": group.source, "listwise": round(result.listwise, 5), **agreement(result.scores, group)}
    norm = stepper.step(step)
    return {"loss": round(total, 5), **values, "gradient_norm": round(norm, 4), "learning_rate": stepper.learning_rate(step)}


def agreement(scores: Tensor, group: Group) -> dict[str, float | None]:
    """Say whether the best-scored document is the teacher's best, and whether it is judged positive.

    Each group is seen before it is trained on, so over a first epoch these are held-out figures.
    """
    best = int(scores.argmax())
    teacher = max(range(len(group.teacher)), key=group.teacher.__getitem__) if group.teacher else None
    return {
        "top_is_teachers": None if teacher is None else float(best == teacher),
        "top_is_positive": float(bool(group.relevance[best])) if any(group.relevance) else None,
        "teacher_top_is_positive": float(bool(group.relevance[teacher]))
        if teacher is not None and any(group.relevance)
        else None,
    }


def _save(config: FinegrainedConfig, step: int, stepper: Stepper) -> Path:
    state = checkpoint.optimizer_state(stepper.optimizer, stepper.names, stepper.masters)
    progress = {"config": json.loads(config.model_dump_json())}
    place = checkpoint.save_checkpoint(config.output, step, stepper.scorer.model, state, progress, keep=config.keep_checkpoints)
    log.info("checkpoint path=%s step=%d", place, step)
    return place


def _resume(output: Path, stepper: Stepper) -> int:
    """Restore the newest checkpoint, if there is one, and return its step."""
    found = checkpoint.checkpoints(output)
    if not found:
        return 0
    state, progress = checkpoint.load_checkpoint(found[-1])
    checkpoint.restore_optimizer(stepper.optimizer, stepper.names, stepper.masters, state)
    stepper.write_back()
    log.info("resume path=%s step=%d", found[-1], progress["step"])
    return int(progress["step"])
