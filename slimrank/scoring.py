"""From two logits to a ranking.

score = logit_relevant - logit_irrelevant at the answer slot, in float32: ProRank's second stage
(arXiv 2506.03487) reads the fine-grained score off the two answer tokens, with no new layer.
Ties keep the order given, which is the first stage's. The probability is a calibrated sigmoid;
rankings never use it, since it saturates.

Knows nothing of models: whoever has logits, a session or a test double, comes here.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slimrank.errors import ScoringError
from slimrank.types import RankedDocument, Scored, Scores


class Scorer(Protocol):
    """Scores the documents of one query; the seam between models and everything else."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return a score for each document, in the order given."""
        ...


def scores_from_logits(logits: npt.ArrayLike) -> Scores:
    """Return (B,) scores from (B, 2) logits in the order irrelevant, relevant.

    Raises:
        ScoringError: a logit is not finite; half precision overflows so.
    """
    pair = np.asarray(logits, dtype=np.float32)
    scores: Scores = pair[:, 1] - pair[:, 0]
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ScoringError(f"{bad} of {len(scores)} scores are not finite; verify the model folder or use fp32")
    return scores


def probabilities(scores: npt.ArrayLike, *, scale: float = 1.0, offset: float = 0.0) -> npt.NDArray[np.float64]:
    """Return sigmoid(scale * score + offset), in float64 and within (0, 1)."""
    x = scale * np.asarray(scores, dtype=np.float64) + offset
    return np.clip(0.5 * (1.0 + np.tanh(0.5 * x)), 1e-15, 1 - 1e-15)


def rank(scored: Scored, *, scale: float = 1.0, offset: float = 0.0) -> list[RankedDocument]:
    """Return the documents best first; equal scores keep the order given."""
    order = np.argsort(-scored.scores, kind="stable")
    chances = probabilities(scored.scores, scale=scale, offset=offset)
    return [RankedDocument(int(i), float(scored.scores[i]), float(chances[i]), bool(scored.truncated[i])) for i in order]
