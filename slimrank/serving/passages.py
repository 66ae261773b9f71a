"""Long documents: split into passages at sentence ends, the best passage speaks for its document.

``long_document="truncate"`` cuts a document at the pair length and never sees the rest;
``"max_passage"`` scores all of it, at the price of one pair a passage. Passages keep whole
sentences where they fit. Nothing overlaps: a sentence belongs to one passage (MaxP of
arXiv 1905.09217, at sentence ends).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from slimrank.prompt import PromptEncoder
from slimrank.scoring import Scorer
from slimrank.serving import anytime
from slimrank.types import Scored

_SENTENCE = re.compile(r".+?(?:[.!?\u3002\uff01\uff1f]['\")\]]*(?=\s)|[\u3002\uff01\uff1f]|\n+|\Z)\s*", re.DOTALL)


class PassageScorer:
    """Scores documents of any length by their best passages.

    Args:
        scorer: Scores the passages.
        encoder: Tells how many tokens a pair has left for a document.
    """

    def __init__(self, scorer: Scorer, encoder: PromptEncoder) -> None:
        self._scorer = scorer
        self._encoder = encoder
        self.cost = anytime.cost_of(scorer)

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the score of each document's best passage, in the order given; ``passages`` says how many were scored.

        Raises:
            InvalidRequest: the instruction leaves no room for the query.
            ScoringError: the model failed.
        """
        if not documents:
            return replace(self._scorer.score(query, documents, instruction=instruction), passages=0)
        split = self._split(query, documents, instruction)
        passages = [passage for parts in split for passage in parts]
        scored = self._scorer.score(query, passages, instruction=instruction)
        starts = np.cumsum([0, *map(len, split[:-1])])
        return replace(
            scored,
            scores=np.maximum.reduceat(scored.scores, starts),
            truncated=np.logical_or.reduceat(scored.truncated, starts),
            passages=len(passages),
        )

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens of each document's passages."""
        split = self._split(query, documents, instruction)
        counts = iter(
            anytime.token_counts(self._scorer, query, [one for parts in split for one in parts], instruction=instruction)
        )
        return [sum(next(counts) for _ in parts) for parts in split]

    def _split(self, query: str, documents: Sequence[str], instruction: str | None) -> list[list[str]]:
        room = self._encoder.document_room(len(self._encoder.prefix_ids(query, instruction).ids))
        counts = self._encoder.count_tokens(documents)
        return [
            [document] if count <= room else self._passages(document, room)
            for document, count in zip(documents, counts, strict=True)
        ]

    def _passages(self, document: str, room: int) -> list[str]:
        sentences = [sentence for match in _SENTENCE.findall(document) for sentence in self._within(match, room)]
        return pack(sentences, self._encoder.count_tokens(sentences), room)

    def _within(self, sentence: str, room: int) -> list[str]:
        """Return a sentence whole, or halved until its parts fit."""
        if len(sentence) < 2 or self._encoder.count_tokens([sentence])[0] <= room:
            return [sentence]
        middle = len(sentence) // 2
        space = sentence.rfind(" ", 1, middle) + 1
        cut = space if space > middle // 2 else middle
        return self._within(sentence[:cut], room) + self._within(sentence[cut:], room)


def pack(sentences: Sequence[str], tokens: Sequence[int], room: int) -> list[str]:
    """Join neighbouring sentences into passages of at most ``room`` tokens each."""
    passages: list[list[str]] = []
    filled = room
    for sentence, count in zip(sentences, tokens, strict=True):
        if filled + count > room or not passages:
            passages.append([])
            filled = 0
        passages[-1].append(sentence)
        filled += count
    return ["".join(passage) for passage in passages if "".join(passage).strip()] or [""]
