"""Stage 1, prompt warm-up: ``slimrank train warmup CONFIG``.

Follows ProRank (arXiv 2506.03487): reinforcement learning teaches a small model to follow the
prompt and to tell relevant from irrelevant, with rewards for format and relevance, before stage 2 trains fine-grained
scores. ``objective: grpo`` is the paper's method, with TRL (``training.grpo``); ``exact`` is the same
expected reward in closed form, without sampling; ``ce``, cross-entropy, is the control.

Departures from the paper: (1) the assistant's turn begins with ``Relevance: ``, which raises the untrained
model's share of legal answers from .03 to .57; (2) an answer is one token; (3) relevance is
rewarded for a couple, not for a document (``training.rewards``); (4) the untrained model's bias to one digit is
removed (``training.calibration``); (5) irrelevant documents become more difficult during training (``training.data.couples``).
Training stops early when the balanced accuracy on held-out couples no longer rises. The result is an
adapter that stage 2 loads as ``model.start``.
"""

import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK, PromptEncoder
from training import calibration, objectives, parallel
from training.config import LevelConfig, WarmupConfig
from training.data.couples import Couple, CoupleSource, Pair, pairs_of
from training.data.groups import read_groups
from training.judge import AnswerModel, Plateau, RewardWatch, judge_dev, mean_margin
from training.model import GroupScorer, load_model, tokenizer_file
from training.progress import RunLog
from training.stepper import Stepper

log = logging.getLogger(__name__)


def train(config: WarmupConfig) -> Path:
    """Run stage 1 and return the last checkpoint's folder.

    Raises:
        ConfigError: the configuration does not fit the model, the loss is not finite, or no couple was ever judged right.
        DataError: the groups cannot be read, or have too few couples for a level.
    """
    if parallel.state().num_processes > 1:
        raise ConfigError(f"stage 1 runs in one process, and {parallel.state().num_processes} were started; start one process")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    dev_source, source = CoupleSource(read_groups(config.groups), config.seed).split(config.dev_groups)
    for level in config.levels:
        source.check(level, config.couples_per_step)
        dev_source.check(level, 1)
    dev = {level.name: dev_source.at_level(level) for level in (LevelConfig(), *config.levels)}
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(config.model.base))))
    model = load_model(config.model).to(parallel.state().device)
    judge = AnswerModel(GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id), encoder)
    judge.document_tokens = max(config.document_tokens)
    resumed = any(config.output.glob("step-*")) or any(config.output.glob("checkpoint-*"))
    kept = calibration.kept_margin(config.output) if resumed else None
    judge.margin = mean_margin(judge, dev["strangers"]) if kept is None else kept
    calibration.keep_margin(config.output, judge.margin)
    log.info("warmup objective=%s groups=%d leaning=%.2f", config.objective, len(source.groups), judge.margin)
    if config.objective == "grpo":
        from training.grpo import train_grpo

        return train_grpo(config, judge, source, dev)
    return _train_without_sampling(config, judge, source, dev)


def _train_without_sampling(
    config: WarmupConfig, judge: AnswerModel, source: CoupleSource, dev: Mapping[str, Sequence[Couple]]
) -> Path:
    stepper = Stepper(judge.scorer.model, config.optimizer, config.steps)
    step = first_step = stepper.resume(config.output)
    plateau, rewards, last_saved = Plateau(config.patience), RewardWatch(config.evaluate_every), time.monotonic()
    with RunLog(config.output, steps=config.steps, first_step=first_step) as run_log:
        if first_step == 0:
            run_log.look(0, judge_dev(judge, dev, config.generations))
        for step in range(first_step + 1, config.steps + 1):
            level = config.level_at(step)
            judge.document_tokens = cut_at(config, step)
            batch = pairs_of(source.at_step(step, config.couples_per_step, level))
            values = _step(config, judge, batch, step, stepper)
            run_log.write(step, {"level": level.name, **values})
            if config.objective == "exact":  # cross-entropy learns even if no draw is right
                rewards.take(values["both_right"])
            if step % config.evaluate_every == 0:
                judge.document_tokens = max(config.document_tokens)
                looks = judge_dev(judge, dev, config.generations)
                run_log.look(step, looks)
                if level is config.levels[-1] and plateau.reached(looks[f"{level.name}/balanced_accuracy"]):
                    break
            if time.monotonic() - last_saved > config.checkpoint_minutes * 60:
                stepper.save(step, config)
                last_saved = time.monotonic()
    rewards.finish()
    return stepper.save(step, config)


def _step(config: WarmupConfig, judge: AnswerModel, batch: Sequence[Pair], step: int, stepper: Stepper) -> dict[str, float]:
    logits = judge.logits(batch)
    chances = judge.chances_of(logits, batch)
    if config.objective == "ce":
        loss = objectives.cross_entropy_loss(chances)
    else:
        loss = objectives.exact_loss(
            chances,
            accuracy_weight=config.accuracy_weight,
            format_weight=config.format_weight,
            normalise=config.normalise_advantages,
        )
    if config.reference_weight and hasattr(judge.scorer.model, "disable_adapter"):
        with torch.no_grad(), judge.scorer.model.disable_adapter():
            reference = judge.logits(batch)
        loss = loss + config.reference_weight * objectives.reference_divergence(logits, reference)
    if not torch.isfinite(loss):
        raise ConfigError(
            f"the loss of step {step} is {float(loss.detach())}; the last checkpoint is intact: lower the learning rate, then"
            " start the same command again"
        )
    loss.backward()  # type: ignore[no-untyped-call]
    norm = stepper.step(step)
    with torch.no_grad():
        return {
            "loss": round(float(loss), 6),
            "accuracy": float((chances.right > chances.wrong).float().mean()),
            "both_right": float(chances.both_right.mean()),
            "legal": float(chances.legal.mean()),
            "gradient_norm": round(norm, 4),
            "learning_rate": stepper.learning_rate(step),
        }


def cut_at(config: WarmupConfig, step: int) -> int:
    """Return the number of tokens that documents are cut to at a step."""
    return config.draw_cut(random.Random(f"{config.seed}-{step}"))
