"""A cascade inside one request: a cheap model narrows the window, the full one ranks what is left.

It must live here: two rerank processors in one OpenSearch pipeline break each other. Any model folder can be the first,
such as one exported from a smaller checkpoint or from the same one with fewer layers. The name, the calibration and the
token limits served are the full model's.

Scoring runs slice by slice (``slices``), the cheap model first over all documents, then the full one over what is kept. Where a partial
answer is taken, each chunk is narrowed by itself, so that the first documents have full scores whenever time is up.
"""

from collections.abc import Sequence

import numpy as np

from slimrank.engine.cache import scoped
from slimrank.scoring import UNSCORED, Scorer
from slimrank.types import Scored


class CascadeScorer:
    """Scores all documents with `first`, and the `keep` best of them with `full`.

    Args:
        keep: Documents that reach the full model; requests of no more skip the first.
    """

    def __init__(self, first: Scorer, full: Scorer, *, keep: int) -> None:
        self._first, self._full, self._keep = first, full, keep

    def scoped(self, scope: str) -> "CascadeScorer":
        """Return the same for another scope of known scores."""
        return CascadeScorer(scoped(self._first, scope), scoped(self._full, scope), keep=self._keep)

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return a score for each document, in the order given; ties of the first model keep the earlier documents.

        Raises:
            ScoringError: one of the models failed.
        """
        if len(documents) <= self._keep:
            return self._full.score(query, documents, instruction=instruction)
        cheap = self._first.score(query, documents, instruction=instruction)
        kept = kept_of(cheap, self._keep)
        return narrowed(cheap, kept, self._full.score(query, [documents[index] for index in kept], instruction=instruction))


def kept_of(cheap: Scored, keep: int) -> list[int]:
    """Return the places of the best documents by the cheap model, in the order given."""
    kept: list[int] = sorted(np.argsort(-cheap.scores, kind="stable")[:keep].tolist())
    return kept


def narrowed(cheap: Scored, kept: Sequence[int], full: Scored) -> Scored:
    """Return the full model's scores of what was kept, and the cheap one's of the rest, moved to a band below them, so that their order stays."""
    places, scores, truncated = list(kept), (UNSCORED + cheap.scores).astype(np.float32), cheap.truncated.copy()
    scores[places] = full.scores
    truncated[places] = full.truncated
    passages = [one.passages for one in (cheap, full) if one.passages is not None]
    return Scored(
        scores,
        truncated,
        full.query_truncated,
        cheap.tokens + full.tokens,
        passages=sum(passages) if passages else None,
        cached=full.cached,
        tokenise_seconds=cheap.tokenise_seconds + full.tokenise_seconds,
        batch_tokens=cheap.batch_tokens + full.batch_tokens,
    )
