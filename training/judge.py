"""A model that judges single pairs: what stage 1 trains, and how well it does on pairs kept out.

Knows nothing of objectives and steps; ``training.warmup`` and ``training.grpo`` train it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from slimrank.prompt import PromptEncoder
from training import objectives
from training.model import GroupScorer
from training.pairs import Pair


class Judge:
    """A model and its prompt: pairs in, answer probabilities out."""

    document_tokens = 128

    def __init__(self, scorer: GroupScorer, encoder: PromptEncoder) -> None:
        self.scorer, self.encoder = scorer, encoder

    def ids(self, pair: Pair) -> list[int]:
        """Return the token ids of a pair, its document cut to ``document_tokens``."""
        prefix = self.encoder.prefix_ids(pair.query).ids
        (body,) = self.encoder.document_ids([pair.document], len(prefix))
        return prefix + body.ids[: self.document_tokens] + list(self.encoder.suffix_ids)

    def logits(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the whole vocabulary's logits at the answer slot, shape (B, V)."""
        last = self.scorer.last_of([self.ids(pair) for pair in pairs])
        logits: Tensor = self.scorer.model.get_output_embeddings()(last)
        return logits

    def chances(self, pairs: Sequence[Pair]) -> objectives.AnswerChances:
        """Return the probability of the right and the wrong digit for each pair."""
        return self.chances_of(self.logits(pairs), pairs)

    def chances_of(self, logits: Tensor, pairs: Sequence[Pair]) -> objectives.AnswerChances:
        """Return the same from logits that were already made."""
        labels = torch.tensor([pair.relevant for pair in pairs])
        return objectives.answer_chances(
            logits, labels, relevant_id=self.encoder.relevant_id, irrelevant_id=self.encoder.irrelevant_id
        )

    @torch.inference_mode()
    def chances_of_right(self, pairs: Sequence[Pair], *, batch_size: int = 16) -> list[float]:
        """Return the probability of the right digit for each pair."""
        starts = range(0, len(pairs), batch_size)
        return [value for start in starts for value in self.chances(pairs[start : start + batch_size]).right.tolist()]


@torch.inference_mode()
def judge_dev(judge: Judge, dev: Sequence[Pair], *, batch_size: int = 16) -> dict[str, float]:
    """Return balanced accuracy of the likelier digit, and the mass of both digits."""
    right: dict[bool, list[float]] = {True: [], False: []}
    mass: list[float] = []
    for start in range(0, len(dev), batch_size):
        batch = dev[start : start + batch_size]
        chances = judge.chances(batch)
        for pair, good, bad in zip(batch, chances.right.tolist(), chances.wrong.tolist(), strict=True):
            right[pair.relevant].append(float(good > bad))
            mass.append(good + bad)
    balanced = sum(math.fsum(hits) / max(1, len(hits)) for hits in right.values()) / 2
    return {"balanced_accuracy": balanced, "format": math.fsum(mass) / len(mass)}


class Plateau:
    """Says when a value has not risen for ``patience`` looks."""

    def __init__(self, patience: int) -> None:
        self._patience, self._best, self._since = patience, -math.inf, 0

    def reached(self, value: float) -> bool:
        """Take a value; return whether it is time to stop."""
        self._since = 0 if value > self._best else self._since + 1
        self._best = max(self._best, value)
        return self._since >= self._patience
