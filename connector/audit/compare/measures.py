"""Compare two rankings of one query, with and without judgments. Values are not rounded.

Without judgments: overlap, Jaccard, rank-biased overlap, and Kendall's tau and rank-biased distance of the shared hits. With
judgments: nDCG, DCG, RR, AP and P, equal to those of ir-measures (trec_eval) on the same input, which ``slimrank.evaluation`` uses.
There are two because an audit reads one query at a time and ``bounds`` computes what unjudged documents could change, and
ir-measures takes all queries at once and gives no parts of a sum.

A ranking is a sequence of distinct document ids, best first. Two empty rankings are equal, so their similarity is 1.0, not 0.
"""

from collections.abc import Mapping, Sequence
from math import fsum, log2, nan

from slimrank.rank_correlation import kendall_tau

RELEVANT = 1
"""The least grade that RR, AP and P count as relevant, as in ``slimrank.evaluation.measures``."""


def overlap(before: Sequence[str], after: Sequence[str], k: int) -> float:
    """Return overlap@k = |A & B| / k of the two top-k lists.

    If both rankings are shorter than k, the longer one's length replaces k, so that equal short rankings give 1.
    """
    a, b = set(before[:k]), set(after[:k])
    longest = max(len(a), len(b))
    return len(a & b) / longest if longest else 1.0


def jaccard(before: Sequence[str], after: Sequence[str], k: int) -> float:
    """Return |A & B| / |A or B| of the two top-k lists."""
    a, b = set(before[:k]), set(after[:k])
    return len(a & b) / len(a | b) if a or b else 1.0


def rbo(before: Sequence[str], after: Sequence[str], p: float) -> float:
    """Return the extrapolated rank-biased overlap, RBO_ext (Webber, Moffat, Zobel, ACM TOIS 28(4), 2010, equation 32).

    X_d is the overlap of the first d ranks; s and l are the two lengths, s <= l:

        (1-p)/p · ( Σ_{d=1..l} X_d/d · p^d  +  Σ_{d=s+1..l} X_s·(d-s)/(s·d) · p^d )  +  ( (X_l-X_s)/l + X_s/s ) · p^l

    For equal lengths k this is A_k·p^k + (1-p)/p · Σ_{d=1..k} A_d·p^d with the agreement A_d = X_d/d.

    Args:
        before: A ranking of any length.
        after: A ranking of any length.
        p: Persistence in (0, 1): the probability that a reader goes on to the next rank. With 0.9 the first ten ranks have 86% of
            the weight.
    """
    short, long = sorted((before, after), key=len)
    s, length = len(short), len(long)
    if not s:
        return 0.0 if length else 1.0
    overlaps = _overlaps(short, long)
    terms = [overlaps[d - 1] / d * p**d for d in range(1, length + 1)]
    x_s, x_l = overlaps[s - 1], overlaps[-1]
    terms += [x_s * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1)]
    return (1 - p) / p * fsum(terms) + ((x_l - x_s) / length + x_s / s) * p**length


def _overlaps(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """Return X_d for d = 1 .. len(long); beyond its end, the shorter ranking adds no documents."""
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    found: list[int] = []
    common = 0
    for place, document in enumerate(long):
        seen_long.add(document)
        if place < len(short):
            seen_short.add(short[place])
            common += short[place] in seen_long
            common += document in seen_short and document != short[place]
        else:
            common += document in seen_short
        found.append(common)
    return found


def shared_orders(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the documents that both rankings hold, in the order of each."""
    both = set(before) & set(after)
    return [document for document in before if document in both], [document for document in after if document in both]


def tau_of_shared(before: Sequence[str], after: Sequence[str]) -> float:
    """Return Kendall's tau of the shared hits; nan if fewer than two are shared."""
    a, b = shared_orders(before, after)
    place = {document: rank for rank, document in enumerate(b)}
    return kendall_tau(range(len(a)), [place[document] for document in a]) if len(a) > 1 else nan


def rank_biased_distance(before: Sequence[str], after: Sequence[str], p: float) -> float:
    """Return 1 - RBO of the two orders of the shared hits; nan if no hit is shared."""
    a, b = shared_orders(before, after)
    return 1 - rbo(a, b, p) if a else nan


def discount(rank: int) -> float:
    """Return 1 / log2(rank + 1), for ranks from 1."""
    return 1 / log2(rank + 1)


def dcg(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return DCG@k = Σ grade / log2(rank + 1), with linear gain as in trec_eval; unjudged documents gain 0."""
    return fsum(judged.get(document, 0) * discount(rank) for rank, document in enumerate(ranking[:k], start=1))


def ideal_dcg(judged: Mapping[str, int], k: int) -> float:
    """Return the DCG@k of the best order of all judged documents."""
    best = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
    return fsum(grade * discount(rank) for rank, grade in enumerate(best, start=1))


def ndcg(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return nDCG@k, the DCG divided by the ideal DCG (Järvelin, Kekäläinen, 2002); 0 if no judged document is relevant."""
    ideal = ideal_dcg(judged, k)
    return dcg(ranking, judged, k) / ideal if ideal else 0.0


def reciprocal_rank(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return 1 / rank of the first relevant document in the top k, or 0."""
    return next((1 / rank for rank, document in enumerate(ranking[:k], start=1) if judged.get(document, 0) >= RELEVANT), 0.0)


def precision(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return P@k: the number of relevant documents in the top k, divided by k."""
    return sum(judged.get(document, 0) >= RELEVANT for document in ranking[:k]) / k


def average_precision(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return AP@k: the sum of the precisions at the relevant documents of the top k, divided by the number of relevant
    documents."""
    relevant = sum(grade >= RELEVANT for grade in judged.values())
    hits = [rank for rank, document in enumerate(ranking[:k], start=1) if judged.get(document, 0) >= RELEVANT]
    return fsum(count / rank for count, rank in enumerate(hits, start=1)) / relevant if relevant else 0.0


def coverage(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Return Judged@k: the share of the top k's documents that have a judgment; 1 if there are no documents."""
    top = ranking[:k]
    return sum(document in judged for document in top) / len(top) if top else 1.0
