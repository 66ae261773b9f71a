"""Entries of a dictionary in the format of dictd: an index, and texts that are packed with gzip.

A line of the index is a word, and where its text begins and how long it is, as numbers to the base of 64.
"""

import gzip
import re
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from slimrank.errors import DataError
from slimrank.evaluation.beir import Document

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
NOT_TEXT = re.compile(
    r"\\[^\\]*\\"  # how it is pronounced
    r"|--[A-Z].*$"  # who is quoted
    r"|\(\d{4}-\d\d-\d\d\)"  # when the entry was changed
    r"|<[a-z][^>]*>|\(?(?:https?|ftp)://\S*"
    r"|[\u2500-\u257f]",  # lines of a table
    re.MULTILINE,
)

BRACKETS = re.compile(r"\[[^\[\]]*\]")
"""Where the word or the entry comes from; brackets stand in brackets."""

GRAMMAR = re.compile(
    r"^(\([^)]*\)[,;]?\s*|/[^/]*/[,;]?\s*)?(\b(prop|n|v|vi|vt|t|i|a|adj|adv|pl|sing|imp|p|pr|pref|interj|prep|conj)\.[,;]?\s*|&\s*)*"
)
"""How a word is spoken and what part of speech it is, in front of the explanation."""


def entries(folder: Path) -> Iterator[Document]:
    """Yield each text of the dictionary in a folder once: title its word, text the explanation."""
    index, packed = (_only(folder, suffix) for suffix in (".index", ".dict.dz"))
    texts = gzip.decompress(packed.read_bytes())
    seen: set[str] = set()
    for line in index.read_text("utf-8").splitlines():
        word, begin, length = line.split("\t")[:3]
        if begin in seen or word.startswith("00-"):
            continue
        seen.add(begin)
        start = _number(begin)
        first, *lines = texts[start : start + _number(length)].decode("utf-8", "replace").lstrip().splitlines()
        title = first.partition(" \\")[0].strip()
        text = dropwhile(lambda line: line and not line[0].isspace(), lines)  # other names stand below the first
        yield Document(f"{index.stem}-{begin}", title, _clean("\n".join([first.removeprefix(title), *text])))


def _clean(text: str) -> str:
    while text != (without := BRACKETS.sub("", text)):
        text = without
    flat = re.sub(r"\s+", " ", NOT_TEXT.sub("", text)).translate({ord("{"): None, ord("}"): None})
    return GRAMMAR.sub("", flat.strip(" ,;:")).strip()


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + DIGITS.index(digit)
    return value


def _only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.rglob(f"*{suffix}"))
    if len(found) != 1:
        raise DataError(f"{folder} holds {len(found)} files *{suffix}; a dictionary has one")
    return found[0]
