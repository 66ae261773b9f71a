"""What all adapters share: texts in, places and scores out, best first, whatever the scorer is.

The score is the model's own: unbounded, higher is better, without ties at the top; a threshold on it is a threshold on
log-odds. No documents are no call. A failing scorer raises, unless the input's order is asked for.
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
    """A document by its 0-based index in the input; `score` is None where the input's order was kept."""

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
    """Return the `top_n` best documents, best first; equal scores keep the input's order.

    Args:
        scorer: a gateway's URL, a loaded `slimrank.Reranker`, or a Scorer.
        top_n: None returns all.
        on_failure: "keep_order" returns the first `top_n` of the input, without scores.
        first_stage_order: the texts stand in a retriever's order, which a model may use as a prior.

    Raises:
        ConfigError: `top_n` is below 1.
        SlimrankError: the scorer failed, with on_failure="raise".
    """
    if top_n is not None and top_n < 1:
        raise ConfigError(f"top_n is {top_n}; it counts the documents to return, at least 1, or None for all")
    if not texts:
        return []
    try:
        scored = score_hits(scorer, query, texts, instruction=instruction, first_stage_order=first_stage_order)
    except SlimrankError:
        if on_failure == "raise":
            raise
        return [Placed(index, None) for index in range(len(texts))][:top_n]
    return [Placed(ranked.index, ranked.score) for ranked in rank(scored)][:top_n]
