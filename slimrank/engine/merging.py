"""Which requests are scored in one run of the model, and by what.

A request of one document makes the smallest of runs, and a run has a price of its own; those that queued while the model was
busy go together, each pair with its own query. A request of several documents is a batch already (docs/decisions/0004). Decides
alone; ``scoring_loop`` takes the requests from its queue, and holds them to their deadlines.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from slimrank.engine.jobs import Job
from slimrank.scoring import Scorer
from slimrank.types import Scored

MOST = 8
"""Requests in one run: as many as a worker takes at a time; the first is answered with the last."""


@runtime_checkable
class PairScorer(Protocol):
    """A scorer that scores pairs of different queries for less than one after the other."""

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None) -> list[Scored]:
        """Return the score of each pair of a query and a document, in the order given."""
        ...


def score_pairs(scorer: Scorer, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None) -> list[Scored]:
    """Return the score of each pair, from a scorer that may know no better than one after the other."""
    if isinstance(scorer, PairScorer):
        return scorer.score_pairs(pairs, instruction=instruction)
    return [scorer.score(query, [document], instruction=instruction) for query, document in pairs]


def goes_with(job: Job, first: Job) -> bool:
    """Tell whether two jobs can be one run: a whole document each, asked for by a user, under the same instruction.

    Not those that may know different scores already, and none that a worker died of.
    """
    return (
        all(len(one.request.documents) == 1 and one.long_document == "truncate" and not one.is_suspect for one in (job, first))
        and job.scope == first.scope
        and job.priority == first.priority == "query"
        and job.request.instruction == first.request.instruction
    )
