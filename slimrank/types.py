"""The few values that travel between the parts.

A *query* and its *documents* go in; a *score* for each document comes out of a scorer, in the
order given; ``slimrank.scoring.rank`` turns scores into a ranking. Wire formats live in
``slimrank.serving.gateway.schemas``, files in ``slimrank.evaluation.trec`` and ``slimrank.evaluation.beir``.

Shape letters, fixed once: B pairs in a batch, L padded tokens, V vocabulary, N documents of a
query, G completions of a prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Json = dict[str, Any]
"""A JSON object, as it is written or was read."""
Scores = npt.NDArray[np.float32]
Run = Mapping[str, Mapping[str, float]]
"""query_id -> doc_id -> score."""
Qrels = Mapping[str, Mapping[str, int]]
"""query_id -> doc_id -> relevance, an integer >= 0."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of N documents, in the order in which they were given."""

    scores: Scores
    """(N,) float32, unbounded, higher is better."""
    truncated: npt.NDArray[np.bool_]
    """(N,) whether a document was cut to the pair length."""
    query_truncated: bool
    tokens: int
    """Tokens that went through the model, padding not counted."""
    depth: int | None = None
    """The number of documents that were scored, from the first on; None = all. The others keep their order below."""
    passages: int | None = None
    """Passages that were scored, where long documents were split into them."""
    cached: int = 0
    """The number of documents whose score was cached from an earlier request."""
    tokenise_seconds: float = 0.0
    batch_tokens: tuple[int, ...] = ()
    """Padded tokens of each batch that was run for these documents; empty where a scorer has no batches."""


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """One query, its documents in first-stage order, and how to judge them."""

    query: str
    documents: Sequence[str]
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One document of an answer. ``index`` is its 0-based place in the request."""

    index: int
    score: float
    probability: float
    truncated: bool = False
    is_scored: bool = True
    """False where a deadline or a depth left the document in first-stage order below all that were scored."""


@dataclass(frozen=True, slots=True)
class RerankResult:
    """An answer, best first."""

    ranked: Sequence[RankedDocument]
    tokens: int
    query_truncated: bool = False
