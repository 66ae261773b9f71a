"""Do no harm: the first stage's own order as a prior beside the model's score.

A search engine sends its hits in its order, so their ranks cost nothing and hold what the first
stage knows. ``fused = score - weight * ln(rank)``: the score is a log-odds, and the odds of
relevance fall about as a power of the first-stage rank. The weight is fitted on dev queries for
one named first stage and lives in the model's manifest. It applies only to a request that says its
documents are in first-stage order; scores themselves, and caches of them, stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from slimrank.types import Run, Scored


def fuse(scores: npt.ArrayLike, ranks: npt.ArrayLike, weight: float) -> npt.NDArray[np.float64]:
    """Return (N,) fused scores from scores and 1-based first-stage ranks, both (N,).

    Ranks count from the first hit of the whole result, so a second page continues the first's.
    """
    fused: npt.NDArray[np.float64] = np.asarray(scores, dtype=np.float64) - weight * np.log(np.asarray(ranks, dtype=np.float64))
    return fused


def fuse_scored(scored: Scored, ranks: Sequence[int], weight: float) -> Scored:
    """Return ``scored`` with fused scores, for a request whose documents have first-stage ranks."""
    return replace(scored, scores=fuse(scored.scores, ranks, weight).astype(np.float32))


def fuse_run(first_stage: Run, scores: Run, weight: float) -> dict[str, dict[str, float]]:
    """Return a run of fused scores; each query's hits stand in ``first_stage`` best first."""
    fused: dict[str, dict[str, float]] = {}
    for query_id, hits in first_stage.items():
        order = list(hits)
        values = fuse([scores[query_id][doc_id] for doc_id in order], np.arange(1, len(order) + 1), weight)
        fused[query_id] = dict(zip(order, values.tolist(), strict=True))
    return fused
