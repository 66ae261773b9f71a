"""The model that stage 1 trains: it judges pairs; and how well it judges held-out couples.

This module knows nothing of objectives and steps; ``training.warmup`` and ``training.grpo`` train the model.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slimrank.errors import ConfigError
from slimrank.prompt import PromptEncoder
from training import objectives
from training.calibration import calibrated
from training.data.couples import Couple, Pair, pairs_of
from training.model import GroupScorer

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 8
"""Rows of a batch on a CPU: enough to use the processor, and few enough that rows of similar length are together."""


class AnswerModel:
    """A model and its prompt; it returns answer probabilities for pairs.

    ``margin`` is subtracted from the logits of the digits (``training.calibration``).
    """

    document_tokens = 128
    margin = 0.0

    def __init__(self, scorer: GroupScorer, encoder: PromptEncoder) -> None:
        self.scorer, self.encoder = scorer, encoder

    def ids(self, pair: Pair) -> list[int]:
        """Return the token ids of a pair, its document cut to ``document_tokens``."""
        prefix = self.encoder.prefix_ids(pair.query).ids
        (body,) = self.encoder.document_ids([pair.document], len(prefix))
        return prefix + body.ids[: self.document_tokens] + list(self.encoder.suffix_ids)

    def logits(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the calibrated logits at the answer slot, shape (B, V)."""
        return self.logits_of([self.ids(pair) for pair in pairs])

    def logits_of(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the calibrated logits of rows of token ids, shape (B, V); the common prefix runs through the model once."""
        shared = _common_prefix(rows)
        at_once = None if torch.cuda.is_available() else ROWS_AT_ONCE
        last = self.scorer.last_hidden(rows[0][:shared], [row[shared:] for row in rows], rows_at_once=at_once)
        logits: Tensor = self.scorer.model.get_output_embeddings()(last)
        return calibrated(logits, self.margin, relevant_id=self.encoder.relevant_id, irrelevant_id=self.encoder.irrelevant_id)

    def chances_of(self, logits: Tensor, pairs: Sequence[Pair]) -> objectives.AnswerChances:
        """Return the probability of the right and the wrong digit for each pair, from its logits."""
        labels = torch.tensor([pair.relevant for pair in pairs], device=logits.device)
        return objectives.answer_chances(
            logits, labels, relevant_id=self.encoder.relevant_id, irrelevant_id=self.encoder.irrelevant_id
        )

    @torch.inference_mode()
    def look(self, pairs: Sequence[Pair], *, batch_size: int = 32) -> tuple[objectives.AnswerChances, Tensor]:
        """Return the probabilities and the calibrated margins of many pairs, in their order."""
        right, wrong, margins = [], [], []
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            logits = self.logits(batch).float()
            chances = self.chances_of(logits, batch)
            right.append(chances.right)
            wrong.append(chances.wrong)
            margins.append(logits[:, self.encoder.relevant_id] - logits[:, self.encoder.irrelevant_id])
        return objectives.AnswerChances(torch.cat(right), torch.cat(wrong)), torch.cat(margins)


def mean_margin(judge: AnswerModel, couples: Sequence[Couple]) -> float:
    """Return the mean margin over both documents of the couples: the model's bias to "1"."""
    return float(judge.look(pairs_of(couples))[1].mean())


def judge_dev(judge: AnswerModel, dev: Mapping[str, Sequence[Couple]], generations: int) -> dict[str, float]:
    """Measure the couples of each level.

    Returns:
        Under ``level/name``: ``balanced_accuracy`` at the calibrated zero; ``auc`` over all relevant and irrelevant documents;
        ``bias``, the mean margin, which is 0 for a model without a bias; ``gap``, the difference between the mean margins of
        relevant and irrelevant documents; ``legal``, the probability of both digits together; ``zero_variance``, the share of
        couples whose draws would all get the same reward.
    """
    looks: dict[str, float] = {}
    for name, couples in dev.items():
        chances, margins = judge.look(pairs_of(couples))
        relevant, irrelevant = margins[0::2], margins[1::2]
        found = {
            "balanced_accuracy": ((relevant > 0).float().mean() + (irrelevant < 0).float().mean()) / 2,
            "auc": (relevant[:, None] > irrelevant[None, :]).float().mean(),
            "bias": margins.mean(),
            "gap": relevant.mean() - irrelevant.mean(),
            "legal": chances.legal.mean(),
            "zero_variance": objectives.zero_variance_share(chances.both_right, generations),
        }
        looks.update({f"{name}/{key}": round(float(value), 4) for key, value in found.items()})
    return looks


class Plateau:
    """Detects that a value has not risen for ``patience`` evaluations."""

    def __init__(self, patience: int) -> None:
        self._patience, self._best, self._since = patience, -math.inf, 0

    def reached(self, value: float) -> bool:
        """Add a value; return whether it is time to stop."""
        self._since = 0 if value > self._best else self._since + 1
        self._best = max(self._best, value)
        return self._since >= self._patience


class RewardWatch:
    """Warns while no couple is judged right; if that never happens, the run fails.

    Args:
        every: The number of steps without a reward after which it warns.
    """

    LEAST = 1e-3
    """A mean reward below this, one draw in a thousand, counts as no reward."""

    def __init__(self, every: int) -> None:
        self._every, self._steps, self._since = every, 0, 0

    def take(self, reward: float) -> None:
        """Add the mean joint reward of a step."""
        self._steps += 1
        self._since = 0 if reward >= self.LEAST else self._since + 1
        if self._since and self._since % self._every == 0:
            log.warning("no couple judged right for steps=%d", self._since)

    def finish(self) -> None:
        """Check that some step had a reward.

        Raises:
            ConfigError: no step had a reward.
        """
        if self._steps and self._since == self._steps:
            raise ConfigError(
                f"in {self._steps} steps no couple was judged right, so stage 1 taught nothing; begin with strangers"
                " (levels), increase generations, or use objective: ce, which learns even if all rewards are 0"
            )


def _common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens that all rows begin with; at least one token of each row is not counted."""
    shortest = min(len(row) for row in rows) - 1
    return next((place for place in range(shortest) if len({row[place] for row in rows}) > 1), shortest)
