"""Documents and labelled questions out of unpacked documentation: answers, guides, manual pages, dictionaries.

A heading that ends with a question mark is a question that people ask, and the section below it is
its answer: a labelled pair. Every other section becomes passages as long as a model sees at once.
Which packages are read, which of their pages, and under what licence, is the table ``SOURCES``.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from slimrank.evaluation.beir import Document
from training.data.dictionaries import entries
from training.data.sections import Section, html_sections, manual_sections

T = TypeVar("T")

MIN_WORDS = 12
"""Shorter texts say too little to be told apart."""

MAX_CHARACTERS = 4_000

PASSAGE = 800
"""Characters, about 160 tokens: a query is made of any part of a passage, so training must see most of it."""

MOST_CODE = 0.02
"""Share of a passage that may be ``CODE``; above, it is a listing or a synopsis."""

CODE = frozenset("{}[]<>=;_$#&|*/\\\\@~^%+")

APPENDED = re.compile(
    r"(bibliography|references|authors?|copyright|licen[cs]e|bugs|reporting bugs|see also|index|acknowledge?ments?|credits|feedback|history"
    r"|change ?log|revision|version|standards|conforming|exit status|environment|files|release)\b",
    re.IGNORECASE,
)
"""How the headings of sections begin that say nothing of what the page is about."""

REPEATED = 3
"""A paragraph on so many pages of one package is a header or a footer."""

MOST_OF_ONE = 300
"""Questions taken from one package, so that none is the whole kind."""

MOST_ENTRIES = 12_000
"""Of one dictionary; the largest has six times as many."""


@dataclass(frozen=True, slots=True)
class Source:
    """Packages that are read together, and what becomes of them.

    ``packages`` are names, or a pattern of apt where a name holds a version. ``licence`` are words that
    stand in their copyright file; a package that says otherwise is refused. ``without`` are names of pages that are
    in other languages, or that repeat others.
    """

    becomes: Literal["guides", "reference", "manuals", "dictionaries"]
    packages: tuple[str, ...]
    subject: str
    licence: str
    pages: tuple[str, ...] = ("**/*.html",)
    without: tuple[str, ...] = ()


SOURCES = (
    Source(
        "guides", ("debian-faq",), "Debian", "Permission is granted to copy and distribute modified versions", ("**/*.en.html",)
    ),
    Source("guides", ("debian-handbook",), "Debian", "GPL-2.0+ or CC-BY-SA-3.0", ("**/en-US/*.html",)),
    Source("guides", ("debian-reference-en",), "Debian", "GPL-2+", ("**/*.en.html",)),
    Source("guides", ("debian-history",), "Debian", "GNU General Public License", ("**/*.en.html",)),
    Source("guides", ("debian-kernel-handbook",), "Linux", "GPL-2+"),
    Source("guides", ("developers-reference",), "Debian", "GPL-2"),
    Source("guides", ("harden-doc",), "Debian", "GPL-2.0", ("**/en-US/*.html",)),
    Source("guides", ("aptitude-doc-en",), "aptitude", "GPL-2+"),
    Source("guides", ("abs-guide",), "Bash", "public-domain"),
    Source("guides", ("c++-annotations-html",), "C++", "GPL-2+"),
    Source("guides", ("anarchism",), "Anarchism", "GPL-2", ("**/html/sec*.html",)),
    Source(
        "guides",
        (r"?name(^python3\.[0-9]+-doc$)",),
        "Python",
        "PYTHON SOFTWARE FOUNDATION LICENSE",
        ("**/html/faq/*.html", "**/html/howto/*.html", "**/html/tutorial/*.html"),
    ),
    Source("reference", ("apache2-doc",), "Apache", "Apache-2.0", ("**/manual/en/**/*.html",)),
    Source("reference", ("exim4-doc-html",), "Exim", "GPL v2+"),
    Source("reference", ("fetchmail",), "fetchmail", "GPL-2+"),
    Source("reference", ("ffmpeg-doc",), "FFmpeg", "LGPL-2.1+", ("**/manual/*.html",)),
    Source("reference", ("git-doc",), "Git", "GPL-2"),
    Source("reference", ("privoxy",), "Privoxy", "GPL-2+"),
    Source("reference", ("r-doc-html",), "R", "GPL-2"),
    Source("reference", ("shorewall-doc",), "Shorewall", "GPL-2+", ("**/html/*.htm",), ("*_fr.htm", "*_ru.htm")),
    Source(
        "reference", ("sqlite3-doc",), "SQLite", "public-domain", ("**/sqlite3/*.html",), ("requirements.html", "releaselog*")
    ),
    Source("manuals", ("manpages", "manpages-dev"), "Linux", "GPL-2+", ("**/man[1-8]/*.gz",)),
    Source("manuals", ("perl-doc",), "Perl", "GPL-1+ or Artistic", ("**/man[1-8]/*.gz",)),
    Source("manuals", ("coreutils",), "Linux", "GPL-3", ("**/man/man[1-8]/*.gz",)),
    Source("manuals", ("util-linux",), "Linux", "GPL-2+", ("**/man/man[1-8]/*.gz",)),
    Source("manuals", ("systemd",), "systemd", "LGPL-2.1+", ("**/man/man[1-8]/*.gz",)),
    Source("dictionaries", ("dict-foldoc",), "", "GNU Free Documentation License"),
    Source("dictionaries", ("dict-gcide",), "", "GNU General Public License"),
    Source("dictionaries", ("dict-jargon",), "", "public-domain"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """The sections of one file."""

    name: str
    sections: tuple[Section, ...]


def read_pages(folder: Path, source: Source) -> list[Page]:
    """Return the pages of an unpacked package, without the paragraphs that many of them show."""
    files = sorted({path.resolve() for pattern in source.pages for path in folder.glob(pattern) if path.is_file()})
    files = [path for path in files if not any(path.match(pattern) for pattern in source.without)]
    pages = [Page(path.name.removesuffix(".gz"), tuple(_sections(path))) for path in files]
    shown = Counter(
        text for page in pages for text in {paragraph for section in page.sections for paragraph in section.paragraphs}
    )
    return [
        Page(
            page.name,
            tuple(
                Section(section.title, kept)
                for section in page.sections
                if (kept := tuple(text for text in section.paragraphs if shown[text] < REPEATED))
            ),
        )
        for page in pages
    ]


def questions(pages: Sequence[Page], subject: str) -> dict[str, Document]:
    """Return each question with its answer, which has the package's subject for a title."""
    found: dict[str, Document] = {}
    for page in pages:
        for number, section in enumerate(page.sections):
            text = " ".join(section.paragraphs)[:MAX_CHARACTERS]
            if _is_question(section.title) and len(text.split()) >= MIN_WORDS:
                found.setdefault(section.title, Document(f"{subject}/{page.name}#{number}", subject, text))
    return dict(_thinned(list(found.items()), MOST_OF_ONE))


def passages(pages: Sequence[Page], subject: str) -> Iterator[Document]:
    """Yield what is no answer in passages; the first of a section has its heading for a title, the others the subject.

    Text that an earlier page has too, such as a book that is there in one page as well, is left out.
    """
    seen: set[str] = set()
    for page in pages:
        for number, section in enumerate(page.sections):
            if section.title.endswith("?") or APPENDED.match(section.title):
                continue
            texts = [text for text in _cut(section.paragraphs) if len(text.split()) >= MIN_WORDS and _is_prose(text)]
            for part, text in enumerate(texts):
                if text in seen:
                    continue
                seen.add(text)
                title = section.title if part == 0 else subject
                yield Document(f"{subject}/{page.name}#{number}.{part}", title, text)


def manual_pages(pages: Sequence[Page]) -> Iterator[Document]:
    """Yield each manual page once: title what it is for, text its names and its description."""
    for page in pages:
        told = {section.title: section.paragraphs for section in page.sections}
        names, dash, purpose = told.get("NAME", ("",))[0].partition(" - ")
        text = f"{names}: {' '.join(told.get('DESCRIPTION', ()))}"[:MAX_CHARACTERS]
        if dash and len(text.split()) >= MIN_WORDS:
            yield Document(page.name, purpose.strip(" .\\"), text)


def dictionary(folder: Path) -> list[Document]:
    """Return the entries that say enough, at most ``MOST_ENTRIES`` from all over the alphabet."""
    found = [entry for entry in entries(folder) if len(entry.text.split()) >= MIN_WORDS and entry.title[:1].isalnum()]
    return [Document(entry.doc_id, entry.title, entry.text[:MAX_CHARACTERS]) for entry in _thinned(found, MOST_ENTRIES)]


def _thinned(found: Sequence[T], most: int) -> Sequence[T]:
    """Return every n-th of them, so that at most ``most`` are left, from the beginning to the end."""
    return found[:: -(-len(found) // most) or 1]


def _sections(path: Path) -> Iterator[Section]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return manual_sections(gzip.decompress(content).decode("utf-8", "replace"))
    return html_sections(content)


def _is_question(title: str) -> bool:
    return title.endswith("?") and len(title.split()) >= 4 and not title.startswith("Example")


def _cut(paragraphs: Sequence[str]) -> Iterator[str]:
    """Yield the text in pieces of at most ``PASSAGE`` characters that end where a paragraph or a sentence ends."""
    piece = ""
    for paragraph in paragraphs:
        if re.match(r"(Table|Figure|Example)\s+[\dA-Z]", paragraph):
            continue
        for sentence in re.split(r"(?<=[.!?:])\s+", paragraph):
            if piece and len(piece) + len(sentence) > PASSAGE:
                yield piece
                piece = ""
            piece = f"{piece} {sentence}".strip()[:PASSAGE]
    if piece:
        yield piece


def _is_prose(text: str) -> bool:
    return sum(letter in CODE for letter in text) <= MOST_CODE * len(text)
