"""Documents that a visitor brings: lines, JSON lines or CSV become documents with ids, so that they can be judged.

The format is told by the file's name, and without one by the first line. A line that is not as it should be
ends the reading with its number: nothing is dropped, and malformed JSON is never taken as text.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from slimrank.beir import Document
from slimrank.columns import check_ids
from slimrank.errors import DataError
from slimrank.files import parse_json

MAX_DOCUMENTS = 10_000
MAX_BYTES = 2 * 2**20
"""Of a text that is pasted or dropped: a second of indexing, and what a browser's session storage holds."""
ID_NAMES = ("_id", "id", "doc_id", "docid")
TITLE_NAMES = ("title", "name", "headline")
TEXT_NAMES = ("text", "body", "content", "description", "abstract", "passage", "contents")
JSON_ENDINGS, CSV_ENDINGS = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv")


def read_documents(text: str, name: str = "", *, most: int | None = MAX_DOCUMENTS) -> list[Document]:
    """Return the documents of a text; one without an id is called after its line.

    Args:
        name: The file's name; "" of a text that was pasted.
        most: How many documents are taken; None = all.

    Raises:
        DataError: a line is none, two have one id, or there are none or too many.
    """
    what = name or "the text"
    text = text.removeprefix("\ufeff")
    documents: dict[str, Document] = {}
    for number, document in _documents(text, name, what):
        if document.doc_id in documents:
            raise DataError(
                f"{what}, line {number}: the id {document.doc_id[:80]!r} was there before; give each document its own"
            )
        documents[document.doc_id] = document
        if most is not None and len(documents) > most:
            raise DataError(
                f"{what} holds more than {most:,} documents, which is what the page takes;"
                " shorten it, or start the playground with --data FILE"
            )
    if not documents:
        raise DataError(f"{what} is empty; give a document a line, JSON lines, or CSV with a line of names")
    check_ids(documents, columns="qrels", separator="\t")
    return list(documents.values())


def _documents(text: str, name: str, what: str) -> Iterator[tuple[int, Document]]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if name.lower().endswith(JSON_ENDINGS) or (not name.lower().endswith(CSV_ENDINGS) and first.lstrip().startswith("{")):
        yield from _of_json(lines, what)
    elif name.lower().endswith(CSV_ENDINGS) or _has_known_names(first):
        yield from _of_csv(text, what)
    else:
        yield from (
            (number, Document(f"line-{number}", "", line.strip())) for number, line in enumerate(lines, 1) if line.strip()
        )


def _of_json(lines: list[str], what: str) -> Iterator[tuple[int, Document]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            raise DataError(f"{what}, line {number}: not JSON ({error}); JSON lines hold one object a line") from error
        if isinstance(record, str):
            record = {"text": record}
        if not isinstance(record, dict):
            raise DataError(f"{what}, line {number}: expected an object such as {_EXAMPLE}; found {line.strip()[:60]}")
        yield number, _document(record, number, what)


_EXAMPLE = json.dumps({"_id": "p1", "title": "Red shoes", "text": "Light, for the road."})


def _of_csv(text: str, what: str) -> Iterator[tuple[int, Document]]:
    rest = text.lstrip()
    before = text[: len(text) - len(rest)].count("\n")
    rows = csv.DictReader(io.StringIO(rest, newline=""), delimiter=_delimiter(rest.partition("\n")[0]), strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise DataError(f"{what}, line {before + rows.line_num}: it has not as many columns as the line of names")
            yield before + rows.line_num, _document(row, before + rows.line_num, what)
    except csv.Error as error:
        raise DataError(f"{what}, line {before + rows.reader.line_num}: not CSV ({error})") from error


def _delimiter(header: str) -> str:
    return max("\t;,", key=header.count) if any(mark in header for mark in "\t;,") else ","


def _has_known_names(header: str) -> bool:
    """Tell a line of names from a text that has commas: one of its columns is a text, and all are single words."""
    mark = _delimiter(header)
    names = [name.strip().strip('"').lower() for name in header.split(mark)]
    return (
        len(names) > 1
        and any(name in TEXT_NAMES + TITLE_NAMES for name in names)
        and all(len(name.split()) == 1 for name in names)
    )


def _document(record: Mapping[str, Any], number: int, what: str) -> Document:
    values = {str(name).strip().lower(): value for name, value in record.items()}
    doc_id, title, text = (_value(values, names, number, what) for names in (ID_NAMES, TITLE_NAMES, TEXT_NAMES))
    if title is None and text is None:
        raise DataError(
            f"{what}, line {number}: found {', '.join(list(values)[:8]) or 'nothing'}, and none of it is the text;"
            f" call it {TEXT_NAMES[0]} (or {', '.join(TEXT_NAMES[1:4])})"
        )
    return Document(doc_id or f"line-{number}", title or "", text or "")


def _value(values: Mapping[str, Any], names: tuple[str, ...], number: int, what: str) -> str | None:
    """Return the first of these that is there, as text."""
    name = next((name for name in names if values.get(name) is not None), None)
    if name is None:
        return None
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{what}, line {number}: {name} should be a text, found {json.dumps(value)[:60]}")
    return str(value).strip()
