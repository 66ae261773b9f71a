"""Several teachers as one: what each adds to a group's scores, brought to one scale and averaged.

One teacher of a student's size cannot be beaten by copying it; the mean of four that err differently, with the first
stage's order beside them, ranks better than any of them. A teacher's scores are divided by their
typical spread within a group, over all groups, and not by the spread of the group itself: a group in which every document is alike stays flat.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from slimrank.hostile import is_hostile
from training.data import Group

Scores = Sequence[float]


def first_stage_scores(group: Group) -> list[float]:
    """Return -ln(rank) of each document; one that was not found stands behind the last that was."""
    last = max((rank for rank in group.ranks if rank is not None), default=0) + 1
    return [-math.log(rank or last) for rank in group.ranks or [None] * len(group.documents)]


def combine(teachers: Sequence[Sequence[Scores]]) -> list[list[float]]:
    """Return one score a document for each group, on the scale of the first teacher.

    Args:
        teachers: For each teacher, for each group, a score a document.
    """
    if len(teachers) == 1:
        return [list(scores) for scores in teachers[0]]
    spreads = [_typical_spread(groups) for groups in teachers]
    added = [
        np.mean([_centred(scores) / spread for scores, spread in zip(of_group, spreads, strict=True)], axis=0)
        for of_group in zip(*teachers, strict=True)
    ]
    scale = spreads[0] / _typical_spread(added)
    return [(float(np.mean(first)) + scale * scores).tolist() for first, scores in zip(teachers[0], added, strict=True)]


def taught(group: Group, scores: Scores) -> Group:
    """Return the group with teacher scores; a document that was written to win gets the least of the others'."""
    others = [score for score, doc_id in zip(scores, group.doc_ids, strict=True) if not is_hostile(doc_id)]
    least = min(others, default=0.0)
    kept = [least if is_hostile(doc_id) else score for score, doc_id in zip(scores, group.doc_ids, strict=True)]
    return replace(group, teacher=tuple(np.round(kept, 5).tolist()))


def _centred(scores: Scores) -> np.ndarray:
    values = np.asarray(scores, dtype=np.float64)
    return values - values.mean()


def _typical_spread(groups: Sequence[Scores]) -> float:
    squares = np.concatenate([_centred(scores) ** 2 for scores in groups])
    return float(np.sqrt(squares.mean())) or 1.0
