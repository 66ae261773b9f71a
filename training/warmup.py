"""Stage 1, prompt warm-up: ``slimrank train warmup CONFIG``.

After ProRank (arXiv 2506.03487): reinforcement learning teaches a small model to follow the
prompt and to judge coarsely, with rewards for format and relevance, before any fine-grained
score. ``objective: grpo`` is the paper's way, by TRL (``training.grpo``); ``exact`` is the same
expected reward in closed form, one forward a pair and no sampling; ``ce`` is the control.

Departures: (1) the assistant's turn begins with ``Relevance: ``, which lifts the untrained
model's share of legal answers from .03 to .57; (2) answers are one token; (3) batches hold as
many relevant pairs as irrelevant ones. It stops early when balanced accuracy on pairs kept out of
training no longer rises. What it leaves is an adapter that stage 2 takes as ``model.start``.
"""

import logging
import random
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer

from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK, PromptEncoder
from training import objectives
from training.config import WarmupConfig
from training.data import read_groups
from training.judge import Judge, Plateau, judge_dev
from training.model import GroupScorer, load_model, tokenizer_file
from training.pairs import Pair, balanced_pairs, batches, filter_pairs
from training.progress import RunLog
from training.stepper import Stepper

log = logging.getLogger(__name__)


def train(config: WarmupConfig) -> Path:
    """Run stage 1 and return the last checkpoint's folder.

    Raises:
        ConfigError: the configuration does not fit the model, or the loss is not finite.
        DataError: the groups cannot be read or hold no judged pairs.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(config.model.base))))
    judge = Judge(
        GroupScorer(load_model(config.model), relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id), encoder
    )
    judge.document_tokens = max(config.document_tokens)
    pairs = balanced_pairs(read_groups(config.groups), config.seed)
    dev, pairs = pairs[: config.dev_pairs], pairs[config.dev_pairs :]
    if config.keep_between is not None:
        looked_at = min(len(pairs), config.filter_pairs)
        pairs = filter_pairs(pairs[:looked_at], judge.chances_of_right, *config.keep_between)
        if len(pairs) < config.batch_pairs:
            raise ConfigError(
                f"a batch takes {config.batch_pairs} pairs, and of {looked_at} only {len(pairs)}, balanced, have a right answer"
                f" of probability {config.keep_between[0]} to {config.keep_between[1]}; widen keep_between or raise filter_pairs"
            )
    log.info("warmup objective=%s pairs=%d dev=%d", config.objective, len(pairs), len(dev))
    if config.objective == "grpo":
        from training.grpo import train_grpo

        return train_grpo(config, judge, pairs, dev)
    return _train_without_sampling(config, judge, pairs, dev)


def _train_without_sampling(config: WarmupConfig, judge: Judge, pairs: Sequence[Pair], dev: Sequence[Pair]) -> Path:
    stepper = Stepper(judge.scorer.model, config.optimizer, config.steps)
    first_step = stepper.resume(config.output)
    plateau, last_saved = Plateau(config.patience), time.monotonic()
    stream = islice(batches(pairs, config.batch_pairs, config.seed), first_step, config.steps)
    step = first_step
    with RunLog(config.output, steps=config.steps, first_step=first_step) as run_log:
        for step, batch in enumerate(stream, start=first_step + 1):
            judge.document_tokens = _cut(config, step)
            values = _step(config, judge, batch, step, stepper)
            looks = judge_dev(judge, dev) if step % config.evaluate_every == 0 else {}
            run_log.write(step, {**values, **looks})
            if looks and plateau.reached(looks["balanced_accuracy"]):
                break
            if time.monotonic() - last_saved > config.checkpoint_minutes * 60:
                stepper.save(step, config)
                last_saved = time.monotonic()
    return stepper.save(step, config)


def _step(
    config: WarmupConfig, judge: Judge, batch: Sequence[Pair], step: int, stepper: Stepper
) -> dict[str, float | str | None]:
    logits = judge.logits(batch)
    chances = judge.chances_of(logits, batch)
    if config.objective == "ce":
        loss = objectives.cross_entropy_loss(chances)
    else:
        loss = objectives.exact_loss(chances, accuracy_weight=config.accuracy_weight, format_weight=config.format_weight)
    if config.reference_weight and hasattr(judge.scorer.model, "disable_adapter"):
        with torch.no_grad(), judge.scorer.model.disable_adapter():
            reference = judge.logits(batch)
        loss = loss + config.reference_weight * objectives.reference_divergence(logits, reference)
    if not torch.isfinite(loss):
        raise ConfigError(
            f"the loss of step {step} is {float(loss.detach())}; the last checkpoint is intact: lower the learning rate"
        )
    loss.backward()  # type: ignore[no-untyped-call]
    norm = stepper.step(step)
    right, wrong = chances.right.detach(), chances.wrong.detach()
    return {
        "loss": round(float(loss.detach()), 6),
        "accuracy": float((right > wrong).float().mean()),
        "right": float(right.mean()),
        "legal": float((right + wrong).mean()),
        "gradient_norm": round(norm, 4),
        "learning_rate": stepper.learning_rate(step),
    }


def _cut(config: WarmupConfig, step: int) -> int:
    lengths = config.document_tokens
    return random.Random(f"{config.seed}-{step}").choices(list(lengths), weights=list(lengths.values()))[0]
