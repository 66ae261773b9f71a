"""Rewards of stage 1: plain functions from completions to numbers, which TRL calls with a whole batch.

ProRank (arXiv 2506.03487) rewards two things: the answer is one of the two
digits, and it is the right digit. A completion here is one token. The right digit is rewarded for a
couple, not for a pair: a model that always gives the same digit is right on half of the pairs,
so that a reward for pairs makes this bias grow without limit (docs/training.md). On couples it gets no reward.
"""

from collections import Counter
from collections.abc import Sequence

ANSWERS = ("0", "1")


def format_reward(completions: Sequence[str], **columns: object) -> list[float]:
    """Return 1 for an answer that is exactly "0" or "1".

    >>> format_reward(["1", "0", " 1", "The"])
    [1.0, 1.0, 0.0, 0.0]
    """
    return [float(completion in ANSWERS) for completion in completions]


def couple_reward(completions: Sequence[str], answer: Sequence[str], couple: Sequence[str], **columns: object) -> list[float]:
    """Return 1 if draw k of a document and draw k of its partner in the couple are both right.

    Args:
        completions: Drawn answers, in any order of documents.
        answer: The right answer to each; it also tells the two documents of a couple apart.
        couple: The couple that each belongs to.

    >>> couple_reward(["1", "1", "0", "1"], answer=["1", "1", "0", "0"], couple=["a"] * 4)
    [1.0, 0.0, 1.0, 0.0]
    """
    drawn: Counter[tuple[str, str]] = Counter()
    draws: list[tuple[str, int]] = []
    for right, name in zip(answer, couple, strict=True):
        draws.append((name, drawn[name, right]))
        drawn[name, right] += 1
    hits = Counter(draw for draw, completion, right in zip(draws, completions, answer, strict=True) if completion == right)
    return [float(hits[draw] == 2) for draw in draws]
