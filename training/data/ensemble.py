"""Combine several teachers into one: bring their scores to one scale and average them.

A student that copies one teacher cannot become better than it. The mean of four teachers that make different errors, and of
the first stage's order, ranks better than any of them. A teacher's scores are divided by their
typical spread within a group, over all groups, and not by the spread of each group: if all documents of a group are similar, its
scores stay close together.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from slimrank.evaluation.hostile_texts import is_hostile
from training.data.groups import Group

Scores = Sequence[float]


def first_stage_scores(group: Group) -> list[float]:
    """Return -ln(rank) of each document; a document that was not found gets the rank after the last found one."""
    last = max((rank for rank in group.ranks if rank is not None), default=0) + 1
    return [-math.log(rank or last) for rank in group.ranks or [None] * len(group.documents)]


def combine(teachers: Sequence[Sequence[Scores]]) -> list[list[float]]:
    """Return for each group one score for each document, on the scale of the first teacher.

    Args:
        teachers: For each teacher and each group, one score for each document.
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
    """Return the group with teacher scores; an adversarial document gets the lowest score of the other documents."""
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
