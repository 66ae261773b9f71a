"""The scores of a search's hits, from a gateway's URL, a loaded reranker or any other scorer.

Hits stand in the first stage's order, and a model may know how much that order is worth (`slimrank.fusion`): so it is said
to every scorer that can use it. A scorer that cannot gives its plain scores.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from connector.gateway import gateway_at
from slimrank.scoring import Scorer
from slimrank.types import Scored


class HasScorer(Protocol):
    """A loaded `slimrank.Reranker`."""

    scorer: Scorer


@runtime_checkable
class UsesOrder(Protocol):
    """A scorer that can use the first stage's order: a gateway's, or a loaded reranker."""

    def score_in_order(self, query: str, documents: Sequence[str], *, instruction: str | None = None, offset: int = 0) -> Scored:
        """Return a score for each document, fused with its first-stage rank, in the order given."""
        ...


AnyScorer = Scorer | HasScorer | str


def scorer_of(scorer: AnyScorer) -> Scorer:
    """Return what scores: the gateway at a URL, a loaded reranker's scorer, or the scorer itself."""
    if isinstance(scorer, str):
        return gateway_at(scorer)
    holder: Any = scorer
    found: Scorer = holder.scorer if hasattr(holder, "scorer") else holder
    return found


def score_hits(
    scorer: AnyScorer,
    query: str,
    documents: Sequence[str],
    *,
    instruction: str | None = None,
    offset: int = 0,
    first_stage_order: bool = True,
) -> Scored:
    """Return a score for each document, in the order given.

    Args:
        offset: how many first-stage hits come before the first document.
        first_stage_order: False where the documents stand in no engine's order of relevance, as in a sorted search.

    Raises:
        SlimrankError: the scorer failed.
    """
    known = gateway_at(scorer) if isinstance(scorer, str) else scorer
    if first_stage_order and isinstance(known, UsesOrder):
        return known.score_in_order(query, documents, instruction=instruction, offset=offset)
    return scorer_of(known).score(query, documents, instruction=instruction)
