"""Bound a measure over unjudged documents: its least and its greatest value over every way to grade them.

A reindex brings documents to the top that nobody has judged. Usually they count as irrelevant, so the new index looks worse than
it is. Here each unjudged document of either top k may have any grade from 0 to ``max_grade``, the same on both sides; documents
outside both keep grade 0. The bounds are exact. The usual guesses "all 0" and "all best" are not: nDCG can lie outside them,
because a new relevant document at rank 10 also raises the ideal DCG.

Few cases suffice. If the occurring grades are fixed, the ideal DCG is fixed, and a sum of coefficient · grade is greatest if the
grades are in the order of the coefficients (rearrangement inequality). So only the non-increasing sequences of grades have to be
tried: C(u + g, g) for u unjudged documents and g = ``max_grade``, which is 286 for u = 10 and g = 3.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from connector.audit.compare.measures import RELEVANT, discount

Floats = npt.NDArray[np.float64]


class Bounds(NamedTuple):
    """The least and the greatest value that a measure can have."""

    low: float
    high: float


def ndcg_bounds(
    before: Sequence[str], after: Sequence[str], judged: Mapping[str, int], k: int, max_grade: int
) -> tuple[Bounds, Bounds, Bounds]:
    """Return the bounds of nDCG@k before, of nDCG@k after, and of the difference after - before.

    The bounds of the difference are narrower than the difference of the bounds: a document with the same rank on both sides
    cancels out, whatever its grade is.
    """
    top_before, top_after = before[:k], after[:k]
    unjudged = sorted((set(top_before) | set(top_after)) - judged.keys())
    first, second = _discounts(top_before), _discounts(top_after)
    a = np.array([first.get(document, 0.0) for document in unjudged])
    b = np.array([second.get(document, 0.0) for document in unjudged])
    known_a = sum(judged.get(document, 0) * weight for document, weight in first.items())
    known_b = sum(judged.get(document, 0) * weight for document, weight in second.items())
    grades = np.array(sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k], dtype=float)
    cases = _falling(len(unjudged), max_grade)
    ideals = _ideals(cases, grades, k)
    return (
        _ratio_bounds(known_a, a, cases, ideals),
        _ratio_bounds(known_b, b, cases, ideals),
        _ratio_bounds(known_b - known_a, b - a, cases, ideals),
    )


def _discounts(top: Sequence[str]) -> dict[str, float]:
    return {document: discount(rank) for rank, document in enumerate(top, start=1)}


@cache
def _falling(length: int, max_grade: int) -> Floats:
    """Return every non-increasing sequence of grades, (cases, length)."""
    cases = list(combinations_with_replacement(range(max_grade, -1, -1), length))
    return np.array(cases, dtype=float).reshape(len(cases), length)


def _ideals(cases: Floats, grades: Floats, k: int) -> Floats:
    """Return the ideal DCG@k of each case, (cases,)."""
    both = np.concatenate([cases, np.broadcast_to(grades, (len(cases), len(grades)))], axis=1)
    best = -np.sort(-both, axis=1)[:, :k]
    ideals: Floats = best @ np.array([discount(rank) for rank in range(1, best.shape[1] + 1)])
    return ideals


def _ratio_bounds(known: float, coefficients: Floats, cases: Floats, ideals: Floats) -> Bounds:
    """Bound (known + coefficients · grades) / ideal over all gradings; without a relevant document the value is 0."""
    rising = np.sort(coefficients)
    safe = np.where(ideals > 0, ideals, 1.0)
    low = np.where(ideals > 0, (known + cases @ rising) / safe, 0.0)
    high = np.where(ideals > 0, (known + cases @ rising[::-1]) / safe, 0.0)
    return Bounds(float(low.min()), float(high.max()))


def precision_bounds(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> Bounds:
    """Return the bounds of P@k: no unjudged document is relevant, or all are."""
    known = sum(judged.get(document, 0) >= RELEVANT for document in ranking[:k])
    return Bounds(known / k, (known + sum(document not in judged for document in ranking[:k])) / k)


def reciprocal_rank_bounds(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> Bounds:
    """Return the bounds of RR@k: from the first relevant document, and from the first document that may be relevant."""
    ranks = enumerate(ranking[:k], start=1)
    sure = maybe = 0.0
    for rank, document in ranks:
        if not maybe and judged.get(document, RELEVANT) >= RELEVANT:
            maybe = 1 / rank
        if judged.get(document, 0) >= RELEVANT:
            sure = 1 / rank
            break
    return Bounds(sure, maybe)


def average_precision_bounds(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> Bounds:
    """Return the bounds of AP@k.

    For a number m of relevant documents among the unjudged, AP is greatest if these are the m highest-ranked, and least if they
    are the m lowest-ranked. So both cases are computed for m = 0 .. u.
    """
    top = ranking[:k]
    known = [judged.get(document, 0) >= RELEVANT for document in top]
    places = [place for place, document in enumerate(top) if document not in judged]
    relevant = sum(grade >= RELEVANT for grade in judged.values())
    values = [
        _average_precision(known, chosen, relevant)
        for m in range(len(places) + 1)
        for chosen in (places[:m], places[len(places) - m :])
    ]
    return Bounds(min(values), max(values))


def _average_precision(known: Sequence[bool], chosen: Sequence[int], relevant: int) -> float:
    ranks = sorted([place + 1 for place, is_relevant in enumerate(known) if is_relevant] + [place + 1 for place in chosen])
    total = relevant + len(chosen)
    return sum(count / rank for count, rank in enumerate(ranks, start=1)) / total if total else 0.0
