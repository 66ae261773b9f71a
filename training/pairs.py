"""Stage 1's data: single judged pairs, as many relevant as not, made of the groups of stage 2.

Of every group with a judged positive one positive and one other document are taken, so labels
stay 1:1 in any stretch of the list; "always 0" earns nothing. Pairs that the untrained model
already answers, or cannot answer, may be left out: the probability is exactly known from one
forward, so nothing is estimated.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slimrank.errors import DataError
from training.data import Group


@dataclass(frozen=True, slots=True)
class Pair:
    """One query, one document, and whether it is relevant."""

    query: str
    document: str
    relevant: bool


def balanced_pairs(groups: Sequence[Group], seed: int) -> list[Pair]:
    """Return relevant and irrelevant pairs in turn, each two of one query.

    Half of the irrelevant documents are the group's hardest by the teacher (judged zeros first),
    half are drawn at random, so that easy and hard ones mix.

    Raises:
        DataError: no group has a judged positive.
    """
    rng = random.Random(seed)
    pairs: list[Pair] = []
    for group in groups:
        positives = [index for index, grade in enumerate(group.relevance) if grade]
        others = [index for index, grade in enumerate(group.relevance) if not grade]
        if not positives or not others:
            continue
        other = rng.choice(others)
        if group.teacher and rng.random() < 0.5:
            other = max(others, key=lambda index: (group.relevance[index] == 0, group.teacher[index]))
        pairs.append(Pair(group.query, group.documents[rng.choice(positives)], True))
        pairs.append(Pair(group.query, group.documents[other], False))
    if not pairs:
        raise DataError("no training group has a judged positive beside another document; stage 1 learns from labels only")
    return pairs


def filter_pairs(
    pairs: Sequence[Pair], chances_of_right: Callable[[Sequence[Pair]], Sequence[float]], low: float, high: float
) -> list[Pair]:
    """Keep the pairs whose right answer has a probability within [low, high], still balanced.

    Raises:
        DataError: none is left.
    """
    kept = [pair for pair, chance in zip(pairs, chances_of_right(pairs), strict=True) if low <= chance <= high]
    relevant = [pair for pair in kept if pair.relevant]
    irrelevant = [pair for pair in kept if not pair.relevant]
    if not relevant or not irrelevant:
        raise DataError(
            f"of {len(pairs)} pairs {len(relevant)} relevant and {len(irrelevant)} irrelevant ones have a right answer of"
            f" probability {low} to {high}; widen keep_between, or use objective: ce, which learns where p is near 0"
        )
    return [pair for both in zip(relevant, irrelevant, strict=False) for pair in both]


def batches(pairs: Sequence[Pair], batch_size: int, seed: int) -> Iterator[list[Pair]]:
    """Yield balanced batches for ever: couples are shuffled anew every epoch, never split."""
    couples = [pairs[start : start + 2] for start in range(0, len(pairs) - 1, 2)]
    per_batch = max(1, batch_size // 2)
    epoch = 0
    while True:
        order = list(range(len(couples)))
        random.Random(f"{seed}-{epoch}").shuffle(order)
        for start in range(0, max(1, len(order) - per_batch + 1), per_batch):
            yield [pair for index in order[start : start + per_batch] for pair in couples[index]]
        epoch += 1
