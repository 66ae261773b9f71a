"""Made-up queries and documents for measurements of time: of a stated length, and new each time, so that no score is known already."""

import random
from collections.abc import Sequence

WORDS: Sequence[str] = (
    *(
        "amber",
        "basket",
        "canvas",
        "delta",
        "engine",
        "fabric",
        "garden",
        "harbour",
        "island",
        "jacket",
        "kettle",
        "ladder",
        "marble",
    ),
    *("needle", "orchard", "pepper", "quarry", "ribbon", "saddle", "timber", "umbrella", "valley", "window", "yellow", "zipper"),
)
SENTENCE_WORDS = 14


def query(chance: random.Random, words: int) -> str:
    """Return a query of ``words`` words."""
    return " ".join(chance.choices(WORDS, k=words))


def documents(chance: random.Random, count: int, words: int) -> list[str]:
    """Return documents of ``words`` words each, in sentences; a word is at least one token."""
    return [_sentences(chance.choices(WORDS, k=words)) for _ in range(count)]


def _sentences(words: Sequence[str]) -> str:
    starts = range(0, len(words), SENTENCE_WORDS)
    return " ".join(f"{' '.join(words[start : start + SENTENCE_WORDS])}." for start in starts)
