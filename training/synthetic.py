"""Queries made from a collection itself, for the many who have no labels.

A title, a question around a title, a sentence of the text, or its rarest words become a query whose
source document is taken as relevant; where the query is the title or the sentence, that text is taken
out of the source document, so that copying words is not the whole lesson. Nothing is generated
by a model. The soft labels of the other documents come from a teacher (``training.teacher``).
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slimrank.beir import Document
from slimrank.prompt import document_text

MIN_WORDS, MAX_WORDS = 4, 24
"""Length of a usable title or sentence, in words."""

KEYWORDS = (2, 5)
"""How many words a query of keywords has."""

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
    """Make queries of one sentence of the text; the source is shown without it."""
    made = []
    for document in rng.sample(list(documents), len(documents)):
        sentences = re.split(r"(?<=[.!?])\s+", document.text)
        usable = [sentence for sentence in sentences if _usable(sentence)]
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
    """Make queries of a text's rarest words, in the text's order, as people type them; the source is shown whole.

    Words of one document alone are left out: they are names and slips, and would find nothing else.
    """
    words = {document.doc_id: list(dict.fromkeys(WORD.findall(document.text.lower()))) for document in documents}
    holders = Counter(word for found in words.values() for word in found)
    made = []
    for document in rng.sample(list(documents), len(documents)):
        known = [word for word in words[document.doc_id] if holders[word] > 1]
        rarest = set(sorted(known, key=holders.__getitem__)[: rng.randint(*KEYWORDS)])
        if len(rarest) >= KEYWORDS[0]:
            query = " ".join(word for word in known if word in rarest)
            made.append(MadeQuery(f"keywords-{document.doc_id}", query, document.doc_id, document.content))
        if len(made) == count:
            break
    return made


def _usable(text: str) -> bool:
    return MIN_WORDS <= len(text.split()) <= MAX_WORDS
