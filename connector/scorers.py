"""Score the hits of a search with a gateway, a loaded reranker or any other scorer.

Hits are in first-stage order, and a model may know how much that order is worth (``slimrank.fusion``). So every scorer that can
use the order is told of it. Other scorers return their plain scores.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from connector.gateway_client import gateway_at
from slimrank.scoring import Scorer
from slimrank.types import Scored


class HasScorer(Protocol):
    """A loaded ``slimrank.Reranker``."""

    scorer: Scorer


@runtime_checkable
class UsesOrder(Protocol):
    """A scorer that can use the first-stage order: a gateway or a loaded reranker."""

    def score_in_order(self, query: str, documents: Sequence[str], *, instruction: str | None = None, offset: int = 0) -> Scored:
        """Return a score for each document, fused with its first-stage rank, in the order given."""
        ...


AnyScorer = Scorer | HasScorer | str


def scorer_of(scorer: AnyScorer) -> Scorer:
    """Return the scorer: for a URL the gateway's, for a loaded reranker its own, or else ``scorer`` itself."""
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
        offset: How many first-stage hits come before the first document.
        first_stage_order: Whether the documents are in an engine's order of relevance. A search with a ``sort`` is not.

    Raises:
        SlimrankError: the scorer failed.
    """
    known = gateway_at(scorer) if isinstance(scorer, str) else scorer
    if first_stage_order and isinstance(known, UsesOrder):
        return known.score_in_order(query, documents, instruction=instruction, offset=offset)
    return scorer_of(known).score(query, documents, instruction=instruction)
