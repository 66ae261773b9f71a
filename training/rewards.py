"""Rewards of stage 1, plain functions from completions to numbers, as TRL calls them.

ProRank (arXiv 2506.03487) rewards several signals at once: that the answer is one of the two
digits, and that it is the right one. A completion here is one token.
"""

from collections.abc import Sequence

ANSWERS = ("0", "1")


def format_reward(completions: Sequence[str], **columns: object) -> list[float]:
    """Return 1 for an answer that is exactly "0" or "1".

    >>> format_reward(["1", "0", " 1", "The"])
    [1.0, 1.0, 0.0, 0.0]
    """
    return [float(completion in ANSWERS) for completion in completions]


def relevance_reward(completions: Sequence[str], answer: Sequence[str], **columns: object) -> list[float]:
    """Return 1 for the right answer.

    >>> relevance_reward(["1", "0", "The"], ["1", "1", "1"])
    [1.0, 0.0, 0.0]
    """
    return [float(completion == right) for completion, right in zip(completions, answer, strict=True)]
