"""Stage 1 as in the paper: TRL's GRPOTrainer with answers of one token and rewards for couples.

What is different from TRL 1.16:

1. The two documents of a couple are in the same batch, so that a reward function can compare a draw with its partner's.
2. The G draws of a document and their log-probabilities come from one forward pass; TRL would run the same prompt G times.
3. The prompts are token ids of our prompt encoder; TRL does not tokenise them.
4. The bias of the untrained model is subtracted from the logits (``training.calibration``).
5. Adam's moments are stored as safetensors, not as pickles.
6. Draws depend only on the seed and the step, so that a killed run can be resumed.

The loss that TRL prints is always 0, since the advantages of a group add up to 0: watch the rewards.
"""

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from slimrank.adapters import LAYERS_KEY, record
from slimrank.errors import ConfigError
from training.checkpoint import optimizer_state, restore_optimizer
from training.config import WarmupConfig
from training.data.couples import Couple, CoupleSource, Pair, pairs_of
from training.judge import AnswerModel, Plateau, RewardWatch, judge_dev
from training.progress import RunLog
from training.rewards import couple_reward, format_reward

OPTIMIZER_FILE, SCHEDULE_FILE = "optimizer.safetensors", "schedule.json"
LOGGED = {
    "loss": "loss",
    "rewards/couple_reward/mean": "both_right",
    "rewards/format_reward/mean": "legal",
    "frac_reward_zero_std": "zero_variance",
    "kl": "kl",
    "grad_norm": "gradient_norm",
    "learning_rate": "learning_rate",
}
"""The figures of TRL that are logged, and the names that ``training.warmup`` uses for them."""


def train_grpo(config: WarmupConfig, judge: AnswerModel, source: CoupleSource, dev: Mapping[str, Sequence[Couple]]) -> Path:
    """Run GRPO and return the folder of the final adapter.

    Raises:
        ConfigError: no step was taken, or no couple was ever judged right.
    """
    for weight in judge.scorer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # TRL's Adam keeps no float32 masters of bfloat16 weights
    trainer = make_trainer(config, judge, source)
    last = sorted(config.output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in last if (path / OPTIMIZER_FILE).is_file() and (path / "trainer_state.json").is_file()]
    first_step = int(complete[-1].name.rpartition("-")[2]) if complete else 0
    rewards = RewardWatch(config.evaluate_every)
    with RunLog(config.output, steps=config.steps, first_step=first_step) as run_log:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Watch(config, judge, dev, run_log, rewards))
        trainer.train(resume_from_checkpoint=str(complete[-1]) if complete else None)
    if trainer.state.global_step == 0:
        raise ConfigError(f"TRL took none of {config.steps} steps, so stage 1 taught nothing")
    rewards.finish()
    final = config.output / "final"
    judge.scorer.model.save_pretrained(final, safe_serialization=True)
    if config.model.adapter_layers is not None:
        record(final, {LAYERS_KEY: config.model.adapter_layers})
    return final


def make_trainer(config: WarmupConfig, judge: AnswerModel, source: CoupleSource) -> "WarmupTrainer":
    """Return a trainer over the couples of all steps, in their order."""
    tokenizer = AutoTokenizer.from_pretrained(config.model.base, local_files_only=True)
    pairs: list[Pair] = []
    for step in range(1, config.steps + 1):
        pairs += pairs_of(source.at_step(step, config.couples_per_step, config.level_at(step)))
    rows = [
        {"prompt": str(index), "answer": "1" if pair.relevant else "0", "couple": str(index // 2)}
        for index, pair in enumerate(pairs)
    ]
    arguments = GRPOConfig(
        output_dir=str(config.output),
        max_steps=config.steps,
        per_device_train_batch_size=2 * config.couples_per_step * config.generations,
        gradient_accumulation_steps=1,
        num_generations=config.generations,
        max_completion_length=1,
        temperature=config.temperature,
        loss_type="dr_grpo",
        scale_rewards="group" if config.normalise_advantages else "none",
        beta=config.reference_weight,
        reward_weights=[config.format_weight, config.accuracy_weight],
        mask_truncated_completions=False,
        learning_rate=config.optimizer.learning_rate,
        warmup_steps=config.optimizer.warmup_steps,
        max_grad_norm=config.optimizer.max_gradient_norm,
        weight_decay=config.optimizer.weight_decay,
        adam_beta1=config.optimizer.betas[0],
        adam_beta2=config.optimizer.betas[1],
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs=_decay(config),
        seed=config.seed,
        shuffle_dataset=False,  # a batch must hold whole couples, and the levels must keep their order
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        save_total_limit=config.keep_checkpoints,
        report_to="none",  # RunLog writes TensorBoard's files
        disable_tqdm=True,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*rollout_func.*"
        )  # TRL is pinned, so its notice about later changes does not matter
        return WarmupTrainer(
            judge=judge,
            model=judge.scorer.model,
            reward_funcs=[format_reward, couple_reward],
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            rollout_func=DrawDigits(judge, pairs, config),
        )


def _decay(config: WarmupConfig) -> dict[str, Any]:
    """Return the schedule of ``training.stepper`` as arguments of transformers."""
    decay = max(1, round(config.optimizer.decay_share * config.steps))
    return {"num_decay_steps": min(decay, max(1, config.steps - config.optimizer.warmup_steps)), "decay_type": "linear"}


class DrawDigits:
    """TRL's rollout: draws one token for each prompt, all G draws of a document from one forward."""

    def __init__(self, judge: AnswerModel, pairs: Sequence[Pair], config: WarmupConfig) -> None:
        self._judge, self._pairs, self._config = judge, pairs, config

    @torch.no_grad()
    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        """Return prompt ids, drawn ids and their log-probabilities.

        Args:
            prompts: The index of a pair each.
        """
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: row for row, prompt in enumerate(distinct)}
        ids = [self._judge.ids(self._pairs[int(prompt)]) for prompt in distinct]
        log_chances = torch.log_softmax(self._judge.logits_of(ids).float() / self._config.temperature, dim=-1).cpu()
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + trainer.state.global_step)
        rows = torch.tensor([place[prompt] for prompt in prompts])
        drawn = torch.multinomial(log_chances.exp()[rows], 1, generator=generator)[:, 0]
        return {
            "prompt_ids": [ids[row] for row in rows],
            "completion_ids": [[int(token)] for token in drawn],
            "logprobs": [[float(log_chances[row, token])] for row, token in zip(rows, drawn, strict=True)],
        }


class WarmupTrainer(GRPOTrainer):  # type: ignore[misc]
    """A GRPOTrainer that computes all draws of a document in one forward pass, and writes checkpoints without pickles."""

    def __init__(self, *, judge: AnswerModel, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._judge = judge

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *rest: Any, **more: Any
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Return log-probabilities and entropies of the drawn tokens, shape (rows, 1), of the calibrated policy."""
        prompts, drawn = input_ids[:, :-1], input_ids[:, -1]
        distinct, place = torch.unique(prompts, dim=0, return_inverse=True)
        first = torch.zeros(len(distinct), dtype=torch.long, device=place.device).scatter_(
            0, place, torch.arange(len(place), device=place.device)
        )
        rows = [prompts[row][attention_mask[row, :-1].bool()].tolist() for row in first]
        log_chances = torch.log_softmax(self._judge.logits_of(rows).float() / self.temperature, dim=-1)
        entropies = -(log_chances.exp() * log_chances).sum(dim=-1)
        return log_chances[place, drawn][:, None], entropies[place][:, None], None

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
        super()._rotate_checkpoints(use_mtime=False, output_dir=output_dir)  # sort by the number in the name

    def _save_rng_state(self, output_dir: str) -> None:
        """Save nothing: draws depend only on the seed and the step."""

    def _trained(self) -> tuple[list[str], list[torch.Tensor]]:
        trained = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        return [name for name, _ in trained], [weight for _, weight in trained]

    def _adam(self) -> torch.optim.Optimizer:
        adam: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return adam


class Watch(TrainerCallback):  # type: ignore[misc]
    """Writes the log, saves checkpoints by time, measures dev, and stops on a plateau of the last level."""

    def __init__(
        self, config: WarmupConfig, judge: AnswerModel, dev: Mapping[str, Sequence[Couple]], run_log: RunLog, rewards: RewardWatch
    ) -> None:
        self._config, self._judge, self._dev, self._log, self._rewards = config, judge, dev, run_log, rewards
        self._plateau, self._last_saved = Plateau(config.patience), time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure the untrained model."""
        if state.global_step == 0:
            self._log.look(0, judge_dev(self._judge, self._dev, self._config.generations))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **rest: Any
    ) -> None:
        """Log the figures that TRL reports for a step."""
        if "reward" in logs:
            values = {name: logs.get(of_trl) for of_trl, name in LOGGED.items()}
            self._log.write(state.global_step, {"level": self._config.level_at(state.global_step).name, **values})
            self._rewards.take(values["both_right"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Save, measure dev or stop, if it is time for it."""
        if time.monotonic() - self._last_saved > self._config.checkpoint_minutes * 60:
            control.should_save, self._last_saved = True, time.monotonic()
        if state.global_step % self._config.evaluate_every == 0:
            looks = judge_dev(self._judge, self._dev, self._config.generations)
            self._log.look(state.global_step, looks)
            level = self._config.level_at(state.global_step)
            if level is self._config.levels[-1]:
                control.should_training_stop |= self._plateau.reached(looks[f"{level.name}/balanced_accuracy"])
