"""Fit how much the first stage's order weighs beside the model's score (``slimrank.fusion``), on judged queries."""

from collections.abc import Mapping, Sequence

import numpy as np

from slimrank.fusion import fuse_run
from slimrank.types import Qrels, Run

CANDIDATE_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)


def fit_weight(
    collections: Sequence[tuple[Qrels, Run, Run]], *, candidates: Sequence[float] = CANDIDATE_WEIGHTS
) -> tuple[float, Mapping[float, float]]:
    """Return the weight with the best nDCG@10, averaged over collections, and the figure of each.

    Args:
        collections: Judgments, first-stage run and scores of each dev collection.
    """
    from slimrank.evaluation import measures  # its libraries are not needed where a weight is only applied

    means = {
        weight: float(
            np.mean([measures.mean(qrels, fuse_run(first, scores, weight))["nDCG@10"] for qrels, first, scores in collections])
        )
        for weight in candidates
    }
    return max(means, key=means.__getitem__), means
