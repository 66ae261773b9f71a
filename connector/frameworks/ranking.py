"""The function that all adapters share: it takes texts and a scorer, and returns indices and scores, best first.

The score is the model's raw score: unbounded, higher is better, without ties at the top. A threshold on it is a threshold on
log-odds. Without documents the scorer is not called. If the scorer fails, its error is raised, unless the caller asked to keep
the input's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connector.scorers import AnyScorer, score_hits
from slimrank.errors import ConfigError, SlimrankError
from slimrank.scoring import rank

OnFailure = Literal["raise", "keep_order"]

__all__ = ["AnyScorer", "OnFailure", "Placed", "place"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A document, by its 0-based index in the input; ``score`` is None if the input's order was kept."""

    index: int
    score: float | None


def place(
    scorer: AnyScorer,
    query: str,
    texts: Sequence[str],
    *,
    top_n: int | None = None,
    instruction: str | None = None,
    on_failure: OnFailure = "raise",
    first_stage_order: bool = True,
) -> list[Placed]:
    """Return the ``top_n`` best documents, best first; equal scores keep the input's order.

    Args:
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        top_n: How many documents to return; None returns all.
        on_failure: With "keep_order", a failure of the scorer returns the first ``top_n`` texts, without scores.
        first_stage_order: Whether the texts are in a retriever's order, which a model may use as a prior.

    Raises:
        ConfigError: ``top_n`` is below 1.
        SlimrankError: the scorer failed, with on_failure="raise".
    """
    if top_n is not None and top_n < 1:
        raise ConfigError(f"top_n is {top_n}; give the number of documents to return, at least 1, or None for all")
    if not texts:
        return []
    try:
        scored = score_hits(scorer, query, texts, instruction=instruction, first_stage_order=first_stage_order)
    except SlimrankError:
        if on_failure == "raise":
            raise
        return [Placed(index, None) for index in range(len(texts))][:top_n]
    return [Placed(ranked.index, ranked.score) for ranked in rank(scored)][:top_n]
