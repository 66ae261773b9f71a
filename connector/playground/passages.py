"""Find the passage of a document that shares most words with the query, and the places of these words.

The page highlights them. The model reads the whole document and does not point to words. So the marks show shared words and do
not explain the score; the page says so.
"""

import re
from dataclasses import dataclass

import Stemmer

PASSAGE_CHARACTERS = 240
_WORD = re.compile(r"\w+")
# Frequent English words. A match on them says nothing about a passage, and would mark half of a text.
_STOP_WORDS = frozenset(
    """a an and are as at be by can do does for from has have how i if in into is it its me my no not of on or
    some that the their then there these this to was what when where which will with you your""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document's text."""

    text: str
    marks: tuple[tuple[int, int], ...]
    """The places of the query's words in ``text`` as [start, end), in order, not overlapping."""
    is_start: bool
    is_end: bool


def find_passage(query: str, text: str, *, length: int = PASSAGE_CHARACTERS) -> Passage:
    """Return the passage of about ``length`` characters with the most different words of the query.

    Of equally good passages the earliest is returned; without a shared word, the beginning of the text.
    """
    stemmer = Stemmer.Stemmer("english")
    wanted = {stemmer.stemWord(word) for word in _words(query)} - _STOP_WORDS
    found = [
        (match.start(), match.end(), stem)
        for match in _WORD.finditer(text)
        if (stem := stemmer.stemWord(match[0].lower())) in wanted
    ]
    start = _word_start(text, max(0, _best_start(found, length)))
    end = _word_end(text, start + length)
    marks = tuple((begin - start, stop - start) for begin, stop, _ in found if start <= begin and stop <= end)
    return Passage(text[start:end], marks, start == 0, end == len(text))


def _words(query: str) -> set[str]:
    return {word for word in _WORD.findall(query.lower()) if word not in _STOP_WORDS}


def _best_start(found: list[tuple[int, int, str]], length: int) -> int:
    """Return where the best passage begins, some words before its first match."""
    best, best_start = 0, 0
    for place, (begin, _, _) in enumerate(found):
        stems = {stem for _, stop, stem in found[place:] if stop <= begin + length - length // 6}
        if len(stems) > best:
            best, best_start = len(stems), begin
    return best_start - length // 6 if best_start > length // 2 else 0


def _word_start(text: str, start: int) -> int:
    """Move forward to the start of a word, so that no word is cut."""
    while 0 < start < len(text) and not text[start - 1].isspace():
        start += 1
    return start


def _word_end(text: str, end: int) -> int:
    """Move back to the end of a word, unless the word is longer than a passage."""
    if end >= len(text):
        return len(text)
    cut = text.rfind(" ", max(0, end - 40), end)
    return cut if cut > 0 else end
