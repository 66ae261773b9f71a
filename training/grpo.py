"""The paper's way through stage 1: TRL's GRPOTrainer with one-token answers.

What is ours around TRL 1.16: the digits are drawn from one forward a pair (TRL would prefill the
same prompt once for each of the G draws), from token ids of the one prompt encoder rather than
from text that TRL tokenises; Adam's moments are kept as safetensors, not pickles; and draws
depend on the seed and the step alone, so a killed run resumes. The loss TRL prints is 0 while it
learns (the advantages of a group add up to 0): watch the rewards.
"""

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from slimrank.errors import ConfigError
from training.checkpoint import optimizer_state, restore_optimizer
from training.config import WarmupConfig
from training.judge import Judge, Plateau, judge_dev
from training.pairs import Pair
from training.rewards import format_reward, relevance_reward

OPTIMIZER_FILE, SCHEDULE_FILE = "optimizer.safetensors", "schedule.json"


def train_grpo(config: WarmupConfig, judge: Judge, pairs: Sequence[Pair], dev: Sequence[Pair]) -> Path:
    """Run GRPO and return the folder of the final adapter."""
    trainer = make_trainer(config, judge, pairs)
    trainer.add_callback(Watch(config, judge, dev, trainer))
    last = sorted(config.output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in last if (path / OPTIMIZER_FILE).is_file() and (path / "trainer_state.json").is_file()]
    trainer.train(resume_from_checkpoint=str(complete[-1]) if complete else None)
    final = config.output / "final"
    judge.scorer.model.save_pretrained(final, safe_serialization=True)
    return final


def make_trainer(config: WarmupConfig, judge: Judge, pairs: Sequence[Pair]) -> "WarmupTrainer":
    """Return a trainer over couples of pairs, in their balanced order shuffled by the seed."""
    if config.batch_pairs % 2:
        raise ConfigError(f"batch_pairs is {config.batch_pairs}; a balanced batch needs an even number")
    tokenizer = AutoTokenizer.from_pretrained(config.model.base, local_files_only=True)
    rows = [{"prompt": str(index), "answer": "1" if pair.relevant else "0"} for index, pair in enumerate(pairs)]
    uses_cuda = torch.cuda.is_available()
    arguments = GRPOConfig(
        output_dir=str(config.output),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_pairs * config.generations,
        gradient_accumulation_steps=1,
        num_generations=config.generations,
        max_completion_length=1,
        temperature=config.temperature,
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=config.reference_weight,
        reward_weights=[config.format_weight, config.accuracy_weight],
        mask_truncated_completions=False,
        learning_rate=config.optimizer.learning_rate,
        warmup_steps=config.optimizer.warmup_steps,
        max_grad_norm=config.optimizer.max_gradient_norm,
        weight_decay=config.optimizer.weight_decay,
        lr_scheduler_type="constant_with_warmup",
        seed=config.seed,
        shuffle_dataset=True,
        use_cpu=not uses_cuda,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=5,
        save_strategy="no",
        save_total_limit=config.keep_checkpoints,
        report_to=["tensorboard"],
        disable_tqdm=None,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*rollout_func.*")  # TRL is pinned; its notice is for those who are not
        return WarmupTrainer(
            model=judge.scorer.model,
            reward_funcs=[format_reward, relevance_reward],
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            rollout_func=DrawDigits(judge, pairs, config),
        )


class DrawDigits:
    """TRL's rollout: draws one token for each prompt, all G draws of a pair from one forward."""

    def __init__(self, judge: Judge, pairs: Sequence[Pair], config: WarmupConfig) -> None:
        self._judge, self._pairs, self._config = judge, pairs, config

    @torch.no_grad()
    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        """Return prompt ids, drawn ids and their log-probabilities; a prompt is the index of a pair."""
        distinct = list(dict.fromkeys(prompts))
        logits = self._judge.logits([self._pairs[int(prompt)] for prompt in distinct]).float() / self._config.temperature
        log_chances = torch.log_softmax(logits, dim=-1)
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + trainer.state.global_step)
        rows = torch.tensor([distinct.index(prompt) for prompt in prompts])
        drawn = torch.multinomial(log_chances.exp()[rows], 1, generator=generator)[:, 0]
        return {
            "prompt_ids": [self._judge.ids(self._pairs[int(prompt)]) for prompt in prompts],
            "completion_ids": [[int(token)] for token in drawn],
            "logprobs": [[float(log_chances[row, token])] for row, token in zip(rows, drawn, strict=True)],
        }


class WarmupTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer whose checkpoints hold no pickles."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        names, weights = self._trained()
        save_file(optimizer_state(self._adam(), names, weights), Path(output_dir) / OPTIMIZER_FILE)
        (Path(output_dir) / SCHEDULE_FILE).write_text(json.dumps(self.lr_scheduler.state_dict()), encoding="utf-8")
        (Path(output_dir) / "training_args.bin").unlink(missing_ok=True)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        names, weights = self._trained()
        restore_optimizer(self._adam(), names, weights, load_file(Path(checkpoint) / OPTIMIZER_FILE))
        self.lr_scheduler.load_state_dict(json.loads((Path(checkpoint) / SCHEDULE_FILE).read_text(encoding="utf-8")))
        for group, rate in zip(self._adam().param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _rotate_checkpoints(self, use_mtime: bool = False, output_dir: str | None = None) -> None:
        super()._rotate_checkpoints(use_mtime=False, output_dir=output_dir)  # the number in the name says which is newer

    def _save_rng_state(self, output_dir: str) -> None:
        """Nothing: draws depend on the seed and the step alone."""

    def _trained(self) -> tuple[list[str], list[torch.Tensor]]:
        trained = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        return [name for name, _ in trained], [weight for _, weight in trained]

    def _adam(self) -> torch.optim.Optimizer:
        adam: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return adam


class Watch(TrainerCallback):  # type: ignore[misc]
    """Saves by minutes, measures balanced accuracy, and stops on a plateau."""

    def __init__(self, config: WarmupConfig, judge: Judge, dev: Sequence[Pair], trainer: WarmupTrainer) -> None:
        self._config, self._judge, self._dev, self._trainer = config, judge, dev, trainer
        self._plateau, self._last_saved = Plateau(config.patience), time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Decide what happens after a step."""
        if time.monotonic() - self._last_saved > self._config.checkpoint_minutes * 60:
            control.should_save, self._last_saved = True, time.monotonic()
        if state.global_step % self._config.evaluate_every == 0:
            found = judge_dev(self._judge, self._dev)
            self._trainer.log({f"dev/{name}": value for name, value in found.items()})
            control.should_training_stop |= self._plateau.reached(found["balanced_accuracy"])
