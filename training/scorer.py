"""Scorers for evaluation before export: a model in torch, and a teacher to compare with.

Both implement ``slimrank.scoring.Scorer``. Serving does not use them.
"""

from collections.abc import Sequence

import numpy as np
import torch

from slimrank.prompt import PromptEncoder
from slimrank.types import Scored
from training.data.teacher import Teacher, cosines
from training.model import GroupScorer


class TorchScorer:
    """Scores with a model in torch; the documents of a query are scored in batches sorted by length."""

    def __init__(self, scorer: GroupScorer, encoder: PromptEncoder, *, batch_size: int = 16) -> None:
        self._scorer, self._encoder, self._batch_size = scorer.eval(), encoder, batch_size

    @torch.inference_mode()
    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return a score for each document, in the order given."""
        prefix = self._encoder.prefix_ids(query, instruction)
        pieces = self._encoder.document_ids(documents, len(prefix.ids))
        order = sorted(range(len(pieces)), key=lambda index: len(pieces[index].ids))
        scores = np.zeros(len(pieces), dtype=np.float32)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            bodies = [pieces[index].ids + list(self._encoder.suffix_ids) for index in batch]
            scores[batch] = self._scorer(prefix.ids, bodies).cpu().numpy()
        tokens = len(prefix.ids) + sum(len(piece.ids) for piece in pieces)
        return Scored(scores, np.array([piece.truncated for piece in pieces], dtype=bool), prefix.truncated, tokens)


class TeacherScorer:
    """Scores with the teacher's cosine."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the cosine of each document, in the order given; an instruction is not used."""
        return Scored(cosines(self._teacher, query, documents), np.zeros(len(documents), dtype=bool), False, 0)
