"""Queries made from a collection itself, for the many who have no labels.

A title, a question around a title, a sentence of the text, or the words that tell it best become a query whose
source document is taken as relevant; where the query is the title or the sentence, that text is taken
out of the source document, so that copying words is not the whole lesson. Nothing is generated
by a model. The soft labels of the other documents come from a teacher (``training.data.teacher``).
"""

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slimrank.evaluation.beir import Document
from slimrank.prompt import document_text

MIN_WORDS, MAX_WORDS = 4, 24
"""Length of a usable title or sentence, in words."""

KEYWORDS = (2, 5)
"""How many words a query of keywords has."""

REFERRING = re.compile(
    r"(this|that|these|those|it|its|he|she|his|her|they|their|such|here|there|then|both|but|and|or|so|also|however|thus|therefore|otherwise"
    r"|instead|see|check|note|for example|for instance|in this case|the (above|following|latter|former|first|second|same|default))\b",
    re.IGNORECASE,
)
"""How sentences begin that need the one before, or that say only where to look."""

POINTING = re.compile(
    r"\b(this (document|section|chapter|page|manual|book|example|table|module|option)|above|below)\b", re.IGNORECASE
)
"""Words for a place on the page."""

WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, slots=True)
class MadeQuery:
    """A query and the document it was made from, as that document should be shown."""

    query_id: str
    text: str
    source_id: str
    source_text: str


def from_titles(documents: Sequence[Document], count: int, rng: random.Random) -> list[MadeQuery]:
    """Make queries of whole titles; the source is shown without its title."""
    usable = [document for document in documents if _usable(document.title) and len(document.text.split()) >= MIN_WORDS]
    return [
        MadeQuery(f"title-{document.doc_id}", document.title.strip(), document.doc_id, document.text)
        for document in rng.sample(usable, min(count, len(usable)))
    ]


def from_templates(documents: Sequence[Document], templates: Sequence[str], count: int, rng: random.Random) -> list[MadeQuery]:
    """Make questions such as ``who directed {title}``; the source is shown whole."""
    usable = [document for document in documents if document.title.strip()]
    return [
        MadeQuery(
            f"template-{document.doc_id}",
            rng.choice(templates).replace("{title}", document.title.strip().lower()),
            document.doc_id,
            document.content,
        )
        for document in rng.sample(usable, min(count, len(usable)))
    ]


def from_sentences(documents: Sequence[Document], count: int, rng: random.Random) -> list[MadeQuery]:
    """Make queries of one sentence of the text that can be understood alone; the source is shown without it."""
    made = []
    for document in rng.sample(list(documents), len(documents)):
        sentences = re.split(r"(?<=[.!?])\s+", document.text)
        usable = [sentence for sentence in sentences if _stands_alone(sentence)]
        if len(sentences) < 3 or not usable:
            continue
        sentence = rng.choice(usable)
        rest = " ".join(other for other in sentences if other != sentence)
        made.append(
            MadeQuery(f"sentence-{document.doc_id}", sentence.rstrip("."), document.doc_id, document_text(document.title, rest))
        )
        if len(made) == count:
            break
    return made


def from_keywords(documents: Sequence[Document], count: int, rng: random.Random) -> list[MadeQuery]:
    """Make queries of the words that tell a text from others best, in the text's order, as people type them; the source is shown whole.

    They are those of the highest (1 + ln tf) idf. Words of fewer than three documents are left out: they are
    names and slips, and would find nothing else.
    """
    texts = {document.doc_id: Counter(WORD.findall(document.content.lower())) for document in documents}
    holders = Counter(word for words in texts.values() for word in words)
    made = []
    for document in rng.sample(list(documents), len(documents)):
        words = texts[document.doc_id]
        weights = {
            word: (1 + math.log(times)) * math.log(len(texts) / holders[word])
            for word, times in words.items()
            if holders[word] >= 3
        }
        best = set(sorted(weights, key=weights.__getitem__, reverse=True)[: rng.randint(*KEYWORDS)])
        if len(best) >= KEYWORDS[0]:
            query = " ".join(word for word in words if word in best)
            made.append(MadeQuery(f"keywords-{document.doc_id}", query, document.doc_id, document.content))
        if len(made) == count:
            break
    return made


def _usable(text: str) -> bool:
    return MIN_WORDS <= len(text.split()) <= MAX_WORDS


def _stands_alone(sentence: str) -> bool:
    is_long_enough = _usable(sentence) and len(sentence.split()) >= 6
    return is_long_enough and sentence[0].isupper() and not REFERRING.match(sentence) and not POINTING.search(sentence)
