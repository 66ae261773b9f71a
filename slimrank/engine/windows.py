"""Which part of a long document is read: its head, or the window that shares most with the query.

Windows are whole sentences in a row, as many as fit. What a window shares is counted as BM25 counts it: a term weighs the more, the
fewer of the request's documents hold it, and each further occurrence adds less. Ties, and documents that share nothing, keep the
head. A short first line is a heading and stays in front.

Costs arithmetic on characters alone and is bounded in each of its inputs; nothing is tokenised but what is kept. Knows no model.
"""

import re
from collections.abc import Callable, Sequence
from math import log

import numpy as np
import numpy.typing as npt
import Stemmer
from bm25s.stopwords import STOPWORDS_EN

from slimrank.bm25 import K1

MOST_CHARACTERS = 2**15
"""The most characters of a document that are searched for a window: more than ten pages."""
LEAST_CHARACTERS = 2**11
ALL_CHARACTERS = 2**19
"""The most characters of all documents of a request, some tenths of a second. Each has an equal share, within both bounds above."""
QUERY_CHARACTERS = 2**11
MOST_TERMS = 64
HEADING_SHARE = 0.25
"""A first line is a heading if it takes no more than so much of the room."""
FILL = 0.85
"""The share of a head's characters that a window may have. Elsewhere in the document the same number of tokens can hold fewer
characters, and then the end of the window would be cut off."""
OWN_LETTERS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Letters of scripts without spaces, or in which a syllable says more than a word: each letter is a term."""

_TERM = re.compile(rf"[{OWN_LETTERS}]|[^\W{OWN_LETTERS}]+")
_SENTENCE_END = re.compile(r"[.!?]['\")\]]*\s+|[\u3002\uff01\uff1f]\s*|\n\s*")
_STEM_LEAST = 3


class Terms:
    """The terms of a query and their weights among the documents of a request.

    Args:
        documents: All of the request, so that a document's window does not depend on which others are read with it.
    """

    def __init__(self, query: str, documents: Sequence[str]) -> None:
        self._stem = Stemmer.Stemmer("english").stemWord
        words = dict.fromkeys(word.lower() for word in _TERM.findall(query[:QUERY_CHARACTERS]))
        stems = dict.fromkeys(self._stem(word) for word in words if word not in STOPWORDS_EN)
        self._place = {stem: place for place, stem in enumerate(list(stems)[:MOST_TERMS])}
        self._pattern = _pattern(list(self._place))
        self._known: dict[str, int | None] = {}
        self.characters = min(MOST_CHARACTERS, max(LEAST_CHARACTERS, ALL_CHARACTERS // max(1, len(documents))))
        """The characters of each document that are searched for a window."""
        self.weights = self._weights(documents)

    def __bool__(self) -> bool:
        """Return whether the query has a term to look for."""
        return bool(self._place)

    def found(self, text: str) -> list[tuple[int, int]]:
        """Return the place of each occurrence in a text, and which term it is."""
        matches = ((match.start(), self._term(match.group())) for match in self._pattern.finditer(text))
        return [(start, term) for start, term in matches if term is not None]

    def _term(self, word: str) -> int | None:
        if word not in self._known:
            self._known[word] = self._place.get(self._stem(word.lower()))
        return self._known[word]

    def _weights(self, documents: Sequence[str]) -> npt.NDArray[np.float64]:
        counts = np.zeros(len(self._place))
        looked_at = documents[: ALL_CHARACTERS // self.characters]
        for document in looked_at:
            counts[list({term for _, term in self.found(document[: self.characters])})] += 1
        return np.array([log(1 + (len(looked_at) - count + 0.5) / (count + 0.5)) for count in counts])


def best_window(terms: Terms, document: str, characters: int) -> str:
    """Return the text from where a document shares most with the query on, its heading before it.

    Args:
        characters: About how many are read; the text goes on beyond them, for whoever counts tokens.
    """
    text = document[: terms.characters]
    found = terms.found(text)
    heading = _heading(text, characters)
    begins = [heading, *(match.end() for match in _SENTENCE_END.finditer(text, heading) if match.end() < len(text))]
    if not found or len(begins) < 2:
        return document
    ends = np.array([*begins[1:], len(text)])
    room = FILL * characters - heading
    # The window that begins at each sentence ends behind the last one that fits, or the first.
    last = np.maximum(np.searchsorted(ends, np.array(begins) + room, side="right"), np.arange(1, len(begins) + 1))
    counted = np.zeros((len(begins) + 1, len(terms.weights)))
    places = np.searchsorted(begins, [start for start, _ in found], side="right")
    inside = places > 0  # the heading is in every window
    np.add.at(counted, (places[inside], np.array([term for _, term in found])[inside]), 1)
    total = counted.cumsum(axis=0)
    times = total[last] - total[:-1]
    start = begins[int(np.argmax(times / (times + K1) @ terms.weights))]
    return document if start == begins[0] else document[:heading] + document[start : start + MOST_CHARACTERS]


def whole_sentences(text: str, heading: int) -> str:
    """Return a text that was cut by tokens without the sentence that the cut went through, if a whole one is left."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text, heading)]
    return text[: ends[-1]] if ends else text


Cut = Callable[[Sequence[str], int], tuple[list[str], npt.NDArray[np.bool_]]]
"""Cuts texts to a number of tokens, and says which were cut."""


def windows(
    query: str, documents: Sequence[str], max_tokens: int, cut: Cut, *, of: Sequence[str] = ()
) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Return the best window of each document, each at most ``max_tokens`` long, and which documents were cut.

    Args:
        of: All documents of the request, where these are a part of it.
    """
    heads, was_cut = cut(documents, max_tokens)
    long = [int(place) for place in np.flatnonzero(was_cut)]
    terms = Terms(query, of or documents) if len(long) else None
    if not terms:
        return heads, was_cut
    # A head is as many tokens as fit, so its length says how many characters those are.
    begun = {place: best_window(terms, documents[place], len(heads[place])) for place in long}
    moved = [place for place, text in begun.items() if text is not documents[place]]
    texts, is_cut = cut([begun[place] for place in moved], max_tokens)
    for place, text, ends_inside in zip(moved, texts, is_cut, strict=True):
        heading = _heading(documents[place], len(heads[place]))
        heads[place] = whole_sentences(text, heading) if ends_inside else text
    return heads, was_cut


def _heading(text: str, characters: int) -> int:
    """Return where a heading ends, line end included; 0 where there is none."""
    return text.find("\n", 0, int(characters * HEADING_SHARE) + 1) + 1


def _pattern(stems: list[str]) -> re.Pattern[str]:
    """Return what finds every word that may have one of these stems: a stem's last letter may be another in the word."""
    letters = [re.escape(stem) for stem in stems if re.fullmatch(f"[{OWN_LETTERS}]", stem)]
    begins = [re.escape(stem[: max(_STEM_LEAST, len(stem) - 1)]) for stem in stems if not re.fullmatch(f"[{OWN_LETTERS}]", stem)]
    parts = ([rf"(?<![^\W{OWN_LETTERS}])(?:{'|'.join(begins)})[^\W{OWN_LETTERS}]*"] if begins else []) + letters
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)
