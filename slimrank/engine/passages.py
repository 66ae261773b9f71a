"""Long documents: split into passages at sentence ends, the best passage speaks for its document.

``long_document="truncate"`` cuts a document at the pair length and never sees the rest;
``"max_passage"`` scores it up to a bound in characters and in passages, at the price of one pair a passage. Passages keep whole
sentences where they fit. Nothing overlaps: a sentence belongs to one passage (MaxP of
arXiv 1905.09217, at sentence ends). A document beyond the bounds is marked as cut.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from slimrank.engine import anytime
from slimrank.prompt import MAX_CHARACTERS_PER_TOKEN, PromptEncoder
from slimrank.scoring import Scorer
from slimrank.types import Scored

MOST_PASSAGES = 64
"""The most passages of a document, some fifty pages. With more, one document could keep the model busy for minutes."""
MOST_CHARACTERS = 2**17
"""The most characters of a document that is split: about what ``MOST_PASSAGES`` hold. The text after them is not tokenised."""
GROUP_CHARACTERS = 2**14
"""Tokenised at once, before it is seen whether there are passages enough."""
PIECE_CHARACTERS_PER_TOKEN = 6
"""A sentence beyond the pair is parted into pieces of so many characters a token first, without a tokenizer."""

_SENTENCE = re.compile(r".+?(?:[.!?\u3002\uff01\uff1f]['\")\]]*(?=\s)|[\u3002\uff01\uff1f]|\n+|\Z)\s*", re.DOTALL)


class Split(NamedTuple):
    """A document's passages, and whether its end is in none of them."""

    passages: list[str]
    is_cut: bool


class Splitter:
    """Splits documents into passages that fit beside a query.

    Args:
        encoder: Tells how many tokens a pair has left for a document.
    """

    def __init__(self, encoder: PromptEncoder) -> None:
        self._encoder = encoder

    def split(self, query: str, documents: Sequence[str], instruction: str | None = None) -> list[Split]:
        """Return the passages of each document, within the bounds above.

        Raises:
            InvalidRequest: the instruction leaves no room for the query.
        """
        room = self._encoder.document_room(len(self._encoder.prefix_ids(query, instruction).ids))
        texts = [document[:MOST_CHARACTERS] for document in documents]
        may_fit = [place for place, text in enumerate(texts) if len(text) <= room * MAX_CHARACTERS_PER_TOKEN]
        counts = dict(zip(may_fit, self._encoder.count_tokens([texts[place] for place in may_fit]), strict=True))
        found = []
        for place, (text, document) in enumerate(zip(texts, documents, strict=True)):
            passages = [text] if counts.get(place, room + 1) <= room else self._passages(text, room)
            is_cut = len(text) < len(document) or len(passages) > MOST_PASSAGES
            found.append(Split(passages[:MOST_PASSAGES], is_cut))
        return found

    def _passages(self, text: str, room: int) -> list[str]:
        """Return the passages of a text that does not fit, one more than are allowed at most or a few."""
        most = room * PIECE_CHARACTERS_PER_TOKEN
        pieces = (piece for match in _SENTENCE.finditer(text) for piece in _parted(match.group(), most))
        fitted: list[tuple[str, int]] = []
        while group := _taken(pieces, GROUP_CHARACTERS):
            fitted += [one for found in self._fitted(group, room) for one in found]
            if sum(count for _, count in fitted) > MOST_PASSAGES * room:
                break  # nobody reads further, so nothing further is tokenised
        return pack([piece for piece, _ in fitted], [count for _, count in fitted], room)

    def _fitted(self, texts: Sequence[str], room: int) -> list[list[tuple[str, int]]]:
        """Return each text whole, or halved until its parts fit, with the tokens of each part; all of one depth are counted at once."""
        if not texts:
            return []
        counts = self._encoder.count_tokens(texts)
        is_long = [count > room and len(text) > 1 for text, count in zip(texts, counts, strict=True)]
        halves = iter(
            self._fitted([half for text, long in zip(texts, is_long, strict=True) if long for half in _halved(text)], room)
        )
        return [
            next(halves) + next(halves) if long else [(text, count)]
            for text, count, long in zip(texts, counts, is_long, strict=True)
        ]


def _taken(pieces: Iterator[str], characters: int) -> list[str]:
    """Return the next pieces, until they have so many characters."""
    taken: list[str] = []
    length = 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length >= characters:
            break
    return taken


def _parted(sentence: str, most: int) -> list[str]:
    """Return a sentence in parts of at most so many characters, between words where there are some."""
    parts = []
    while len(sentence) > most:
        space = sentence.rfind(" ", most // 2, most) + 1
        parts.append(sentence[: space or most])
        sentence = sentence[space or most :]
    return [*parts, sentence]


def _halved(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    space = text.rfind(" ", 1, middle) + 1
    cut = space if space > middle // 2 else middle
    return text[:cut], text[cut:]


class PassageScorer:
    """Scores documents of any length by their best passages.

    Args:
        scorer: Scores the passages.
        encoder: Tells how many tokens a pair has left for a document.
    """

    def __init__(self, scorer: Scorer, encoder: PromptEncoder) -> None:
        self._scorer = scorer
        self._splitter = Splitter(encoder)
        self.cost = anytime.cost_of(scorer)

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the score of each document's best passage, in the order given; ``passages`` says how many were scored.

        Raises:
            InvalidRequest: the instruction leaves no room for the query.
            ScoringError: the model failed.
        """
        splits = self._splitter.split(query, documents, instruction)
        scored = self._scorer.score(query, [passage for split in splits for passage in split.passages], instruction=instruction)
        return best_passages(scored, [len(split.passages) for split in splits], [split.is_cut for split in splits])

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens of each document's passages."""
        splits = self._splitter.split(query, documents, instruction)
        passages = [passage for split in splits for passage in split.passages]
        counts = iter(anytime.token_counts(self._scorer, query, passages, instruction=instruction))
        return [sum(next(counts) for _ in split.passages) for split in splits]


def best_passages(scored: Scored, counts: Sequence[int], is_cut: Sequence[bool]) -> Scored:
    """Return what was said of documents' passages, in order, as an answer about the documents.

    Args:
        counts: Passages of each document, at least one.
        is_cut: Whether a document's end is in none of them.
    """
    if not counts:
        return replace(scored, passages=0)
    starts = np.cumsum([0, *counts[:-1]])
    return replace(
        scored,
        scores=np.maximum.reduceat(scored.scores, starts),
        truncated=np.logical_or.reduceat(scored.truncated, starts) | np.asarray(is_cut, dtype=np.bool_),
        passages=sum(counts),
    )


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
