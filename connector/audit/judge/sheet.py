"""A person's judgments: write a spreadsheet, and read it with the grades filled in.

The sheet holds only a code, the query and the text, but no side, rank, index or document id. The code is a hash, and the rows are
ordered by it, so that related rows are not next to each other.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from connector.audit.folder import Folder, digest
from connector.audit.judge.judgments import changed_documents
from connector.audit.spill import Grade, in_order, scratch
from slimrank.errors import DataError
from slimrank.files import open_text, replace_text

COLUMNS = ("item", "query", "document", "grade")
_FORMULA = re.compile(r"(?:^|[\t\r\n\v\f,;|\x85\u2028\u2029])[\s'\"]*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""The start of a formula: such a sign at the start of a cell, or after a separator or a line break."""


def write_sheet(folder: Folder, path: Path) -> int:
    """Write the documents to grade; return the number of rows."""
    rows = (
        (item_code(row.query.query_id, doc_id), _inert(row.query.query), _inert(text))
        for row, documents in changed_documents(folder)
        for doc_id, text in documents
    )
    with scratch() as database, replace_text(path) as file:
        database.execute("CREATE TABLE items (item PRIMARY KEY, query, document) WITHOUT ROWID")
        database.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        writer.writerows((*item, "") for item in database.execute("SELECT * FROM items ORDER BY item"))
        (count,) = database.execute("SELECT COUNT(*) FROM items").fetchone()
    return int(count)


def _inert(cell: str) -> str:
    """Return a text that a spreadsheet does not run as a formula; control characters are removed."""
    shown = "".join(character for character in cell if character.isprintable() or character.isspace())
    return _FORMULA.sub(lambda found: f"{found[0]}'", shown)


def item_code(query_id: str, doc_id: str) -> str:
    """Return the code of a query and a document, which reveals neither."""
    return digest([query_id, doc_id])


def read_sheet(folder: Folder, path: Path) -> Iterator[Grade]:
    """Yield the grades of a filled sheet; rows without a grade are skipped.

    Raises:
        DataError: a grade is not a whole number of the scale, or an item does not belong to this audit.
    """
    return in_order(_filled(folder, path))


def _filled(folder: Folder, path: Path) -> Iterator[Grade]:
    items = (
        (item_code(row.query.query_id, doc_id), row.query.query_id, doc_id)
        for row, documents in changed_documents(folder)
        for doc_id, _ in documents
    )
    most = folder.spec.max_grade
    grades = {str(grade) for grade in range(most + 1)}
    with scratch() as database, open_text(path) as file:
        database.execute("CREATE TABLE items (item PRIMARY KEY, query_id, doc_id) WITHOUT ROWID")
        database.executemany("INSERT INTO items VALUES (?, ?, ?)", items)
        for number, record in _rows(file, path):
            given = (record.get("grade") or "").strip()
            if not given:
                continue
            if given not in grades:
                raise DataError(f"{path}:{number}: a grade is a whole number from 0 to {most}; found {given[:40]!r}")
            item = record.get("item")
            found = database.execute("SELECT query_id, doc_id FROM items WHERE item = ?", (item,)).fetchone()
            if found is None:
                raise DataError(
                    f"{path}:{number}: item {item!r} does not belong to this audit; was the sheet made for another audit?"
                )
            yield *found, int(given)


def _rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield the rows of a sheet with their line numbers.

    Raises:
        DataError: the file is not CSV, or lacks a required column.
    """
    reader = csv.DictReader(file)
    try:
        if not {"item", "grade"} <= set(reader.fieldnames or ()):
            raise DataError(f"{path} has the columns {reader.fieldnames}; a sheet needs {', '.join(COLUMNS)}")
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num} is not CSV: {error}") from error
