"""Score as many documents as a deadline allows, in the order given; the others keep their order below.

Two decisions, both from a cost model that is fitted in warm-up and learns on: how many documents
fit before anything is scored (``depth="auto"``), and how many to score next, so that an estimate
that is off costs a chunk and not the answer. The first stage's best documents are scored first.

Pure decisions, and the loop for callers in this process; the service takes the same decisions
between its other jobs (``scoring_loop``).
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from slimrank.engine.cost import TokenCost
from slimrank.engine.jobs import Depth
from slimrank.errors import DeadlineExceeded, InvalidRequest
from slimrank.scoring import Scorer, joined, only_first
from slimrank.types import Scored

LEAST_CHUNK = 4
"""The smallest chunk: in a smaller one the fixed cost of a run is more than the cost of its documents."""
HALF = 0.5
"""The share of the time left that a chunk may fill if not all documents fit: chunks get smaller towards the deadline."""
SAFETY = 0.8
"""If all documents fit into this share of the time left, they are scored at once."""
CHARACTERS_PER_TOKEN = 4
PROMPT_TOKENS = 12
MOST_TOKENS = 512


@runtime_checkable
class CostedScorer(Protocol):
    """A scorer that knows what it costs."""

    cost: TokenCost
    """The cost model, which warm-up fits."""

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens that each document would put through the model."""
        ...


def token_counts(scorer: Scorer, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
    """Return the tokens of each document, from the scorer if it can tell, else from the characters."""
    if isinstance(scorer, CostedScorer):
        return scorer.token_counts(query, documents, instruction=instruction)
    return [estimated_tokens(document) for document in documents]


def estimated_tokens(document: str, most_characters: int | None = None) -> int:
    """Return the tokens of a document by its characters alone.

    Args:
        most_characters: Of a document that is split into passages; None of one that is cut at the pair length.
    """
    if most_characters is None:
        return min(MOST_TOKENS, len(document) // CHARACTERS_PER_TOKEN + PROMPT_TOKENS)
    tokens = min(len(document), most_characters) // CHARACTERS_PER_TOKEN
    return tokens + PROMPT_TOKENS * (tokens // MOST_TOKENS + 1)


def cost_of(scorer: Scorer) -> TokenCost:
    """Return the scorer's cost model, or a new one that has yet to learn."""
    return scorer.cost if isinstance(scorer, CostedScorer) else TokenCost()


def depth_within(tokens: Sequence[int], seconds: float, cost: TokenCost) -> int:
    """Return how many of the first documents fit into the time; all of them if the cost is not known yet."""
    for place, work in enumerate(cost.work(tokens)):
        if cost.seconds(work) > seconds:
            return place
    return len(tokens)


def next_chunk(tokens: Sequence[int], left_seconds: float, cost: TokenCost) -> int:
    """Return how many documents to score next; 0 if none fits into the time left."""
    if left_seconds <= 0:
        return 0
    least = max(LEAST_CHUNK, cost.lanes)
    if not cost.is_known:
        return min(least, len(tokens))
    fits = depth_within(tokens, SAFETY * left_seconds, cost)
    return fits if fits == len(tokens) else min(fits, max(least, depth_within(tokens, HALF * left_seconds, cost)))


def first_depth(depth: Depth | None, tokens: Sequence[int], left_seconds: float | None, cost: TokenCost) -> int:
    """Return how many documents are to be scored at all.

    Args:
        depth: A number, "auto" = as many as fit into the time left, or None = all.
    """
    if depth is None or (depth == "auto" and (left_seconds is None or not cost.is_known)):
        return len(tokens)
    if depth == "auto":
        return max(1, depth_within(tokens, SAFETY * (left_seconds or 0.0), cost))
    return min(depth, len(tokens))


def check_depth(depth: Depth | None) -> None:
    """Refuse a depth that is neither a number of documents nor "auto".

    Raises:
        InvalidRequest: it is neither.
    """
    if depth is not None and depth != "auto" and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise InvalidRequest(f"depth must be a number of documents, at least 1, or 'auto'; found {depth!r}")


def score_until(
    scorer: Scorer,
    query: str,
    documents: Sequence[str],
    *,
    deadline: float | None,
    clock: Callable[[], float],
    depth: Depth | None = None,
    instruction: str | None = None,
) -> Scored:
    """Return an answer about all documents, with scores for those that there was time for.

    Args:
        deadline: When the answer is due, by ``clock``; None = whenever it is done.
        depth: Documents to score: a number, "auto", or None = all that there is time for.

    Raises:
        DeadlineExceeded: there was no time for a single document.
        ScoringError: the model failed.
    """
    tokens, cost = token_counts(scorer, query, documents, instruction=instruction), cost_of(scorer)
    wanted = first_depth(depth, tokens, None if deadline is None else deadline - clock(), cost)
    if deadline is None:
        return only_first(scorer.score(query, documents[:wanted], instruction=instruction), len(documents))
    parts: list[Scored] = []
    done = 0
    while done < wanted:
        begin = clock()
        size = next_chunk(tokens[done:wanted], deadline - begin, cost)
        if not size and not parts and begin < deadline:
            size = 1  # the estimate may be wrong, and a cost model that is never tried never learns
        if not size:
            break
        parts.append(scorer.score(query, documents[done : done + size], instruction=instruction))
        cost.learn_documents(tokens[done : done + size], clock() - begin)
        done += size
    if not parts:
        raise DeadlineExceeded("there was no time to score a single document; allow more time")
    return only_first(joined(parts), len(documents))
