"""Read a visitor's documents from lines, JSON lines or CSV; every document gets an id, so that it can be judged.

The file's name determines the format; without a name, the first line does. An invalid line is an error that names the line: no
line is dropped, and malformed JSON is never read as plain text.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from slimrank.errors import DataError
from slimrank.evaluation.beir import Document
from slimrank.evaluation.columns import check_ids
from slimrank.files import parse_json

MAX_DOCUMENTS = 10_000
MAX_BYTES = 2 * 2**20
"""The limits of a pasted or dropped text: indexing takes about a second, and a browser's session storage can hold it."""
ID_NAMES = ("_id", "id", "doc_id", "docid")
TITLE_NAMES = ("title", "name", "headline")
TEXT_NAMES = ("text", "body", "content", "description", "abstract", "passage", "contents")
JSON_ENDINGS, CSV_ENDINGS = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv")


def read_documents(text: str, name: str = "", *, most: int | None = MAX_DOCUMENTS) -> list[Document]:
    """Return the documents of a text; the id of a document without an id is made from its line number.

    Args:
        name: The file's name; "" for a pasted text.
        most: The largest allowed number of documents; None = no limit.

    Raises:
        DataError: a line is not a document, two documents have the same id, or there are no documents or too many.
    """
    what = name or "the text"
    text = text.removeprefix("\ufeff")
    documents: dict[str, Document] = {}
    for number, document in _documents(text, name, what):
        if document.doc_id in documents:
            raise DataError(
                f"{what}, line {number}: the id {document.doc_id[:80]!r} is used twice; give each document its own id"
            )
        documents[document.doc_id] = document
        if most is not None and len(documents) > most:
            raise DataError(
                f"{what} holds more than {most:,} documents, the limit of the page;"
                " shorten it, or start the playground with --data FILE"
            )
    if not documents:
        raise DataError(f"{what} is empty; give one document on each line, JSON lines, or CSV with a header line")
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
            raise DataError(f"{what}, line {number}: not JSON ({error}); JSON lines hold one object on each line") from error
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
                raise DataError(f"{what}, line {before + rows.line_num}: the number of columns differs from the header line")
            yield before + rows.line_num, _document(row, before + rows.line_num, what)
    except csv.Error as error:
        raise DataError(f"{what}, line {before + rows.reader.line_num}: not CSV ({error})") from error


def _delimiter(header: str) -> str:
    return max("\t;,", key=header.count) if any(mark in header for mark in "\t;,") else ","


def _has_known_names(header: str) -> bool:
    """Tell whether a line with commas is a CSV header: one column has a known name for the text, and all are single words."""
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
            f"{what}, line {number}: found {', '.join(list(values)[:8]) or 'nothing'}, but no field for the text;"
            f" call that field {TEXT_NAMES[0]} (or {', '.join(TEXT_NAMES[1:4])})"
        )
    return Document(doc_id or f"line-{number}", title or "", text or "")


def _value(values: Mapping[str, Any], names: tuple[str, ...], number: int, what: str) -> str | None:
    """Return the first of these fields that exists, as text."""
    name = next((name for name in names if values.get(name) is not None), None)
    if name is None:
        return None
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{what}, line {number}: {name} should be a text, found {json.dumps(value)[:60]}")
    return str(value).strip()
