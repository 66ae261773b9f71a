"""From two logits to a ranking.

score = logit_relevant - logit_irrelevant at the answer slot, in float32: ProRank's second stage
(arXiv 2506.03487) reads the fine-grained score off the two answer tokens, with no new layer.
Ties keep the order given, which is the first stage's. The probability is a calibrated sigmoid;
rankings never use it, since it saturates.

A document with nothing to read says nothing of relevance, though a model would score it, and not always low: it stands below all others.

Documents that nobody scored keep their order below all that were scored. Engines drop headers, so
the numbers themselves mark them: scores from -1000 down, probabilities of at most 1e-11.

Knows nothing of models: whoever has logits, a session or a test double, comes here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slimrank.errors import ScoringError
from slimrank.types import RankedDocument, Scored, Scores

UNSCORED = -1000.0
"""The highest score of a document that the model did not score; the next ones go down from it. Searches and cascades use it too."""
UNSCORED_STEP = 1e-15
"""The step between the probabilities of two documents that were not scored."""
PROBE_QUERY = "how warm is a wool coat"
PROBE_DOCUMENT = "Wool keeps most of its warmth when wet."
"""The pair that every check of a model or a gateway scores. It never changes: another score of it means another model."""
PROBE_DOCUMENTS = (PROBE_DOCUMENT, "The warm-up band wore a coat on stage.")
"""For checks that need two documents."""
NOTHING_SCORE = -100_000.0
"""The score of a document without text: below every document with text, also below those that were not scored."""
SEEN_CHARACTERS = 4096
"""The first characters of a document that are searched for text."""
LEAST_PROBABILITY = 2e-11
"""The lowest probability of a scored document beside 10,000 others that were not scored."""


def is_readable(document: str) -> bool:
    """Tell whether there is anything to read in a document: a character that shows."""
    start = document.strip()[:SEEN_CHARACTERS]
    return any(character.isprintable() and not character.isspace() for character in start)


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
    """Return the documents best first, those that were not scored last; equal scores keep the order given."""
    count = len(scored.scores)
    depth = count if scored.depth is None else scored.depth
    order = np.argsort(-scored.scores[:depth], kind="stable")
    chances = probabilities(scored.scores, scale=scale, offset=offset)
    if depth < count:
        chances = np.maximum(chances, LEAST_PROBABILITY)
    is_blank = scored.scores < NOTHING_SCORE / 2
    chances[is_blank] = 0.0
    ranked = [RankedDocument(int(i), float(scored.scores[i]), float(chances[i]), bool(scored.truncated[i])) for i in order]
    read, blank = [one for one in ranked if not is_blank[one.index]], [one for one in ranked if is_blank[one.index]]
    lowest = min(UNSCORED, read[-1].score) if read else UNSCORED
    return read + not_scored(depth, count, below=lowest) + blank


def not_scored(start: int, count: int, *, below: float = UNSCORED) -> list[RankedDocument]:
    """Return the documents from ``start`` in the order given, strictly descending in a band of their own."""
    return [RankedDocument(i, below - i, (count - i) * UNSCORED_STEP, is_scored=False) for i in range(start, count)]


def only_first(scored: Scored, count: int) -> Scored:
    """Return scores for all ``count`` documents: those of the first ones, which were scored, and lower ones for the others."""
    depth = len(scored.scores)
    if depth == count:
        return scored
    rest = UNSCORED - np.arange(depth, count, dtype=np.float32)
    truncated = np.concatenate([scored.truncated, np.zeros(count - depth, dtype=np.bool_)])
    return replace(scored, scores=np.concatenate([scored.scores, rest]), truncated=truncated, depth=depth)


def joined(parts: Sequence[Scored]) -> Scored:
    """Join the scores of each part, in order, into one result for all documents."""
    passages = [part.passages for part in parts if part.passages is not None]
    return Scored(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.truncated for part in parts]),
        parts[0].query_truncated,
        sum(part.tokens for part in parts),
        passages=sum(passages) if passages else None,
        cached=sum(part.cached for part in parts),
        tokenise_seconds=sum(part.tokenise_seconds for part in parts),
        batch_tokens=tuple(tokens for part in parts for tokens in part.batch_tokens),
    )
