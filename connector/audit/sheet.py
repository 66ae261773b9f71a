"""A person's judgments: a spreadsheet out, the same with grades back in.

The sheet holds no side, rank, index or document id, only an item's code, the query and the text. It is ordered by the
code, a hash, so what belongs together stands nowhere together.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from connector.audit.folder import Folder, digest
from connector.audit.judgments import changed_documents
from connector.audit.spill import Grade, in_order, scratch
from slimrank.errors import DataError
from slimrank.files import open_text, replace_text

COLUMNS = ("item", "query", "document", "grade")
_FORMULA = re.compile(r"(?:^|[\t\r\n\v\f,;|\x85\u2028\u2029])[\s'\"]*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""What a spreadsheet may run: a sign that begins a cell, or what it takes for one behind a separator or a line break."""


def write_sheet(folder: Folder, path: Path) -> int:
    """Write what is to be graded; return how many rows."""
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
    """Keep a spreadsheet from running a text as a formula; control characters, which it has no use for, go."""
    shown = "".join(character for character in cell if character.isprintable() or character.isspace())
    return _FORMULA.sub(lambda found: f"{found[0]}'", shown)


def item_code(query_id: str, doc_id: str) -> str:
    """Return the code of a query and document, which tells nothing of either."""
    return digest([query_id, doc_id])


def read_sheet(folder: Folder, path: Path) -> Iterator[Grade]:
    """Yield the grades of a filled sheet; rows without one are passed over.

    Raises:
        DataError: a grade is not a whole number of the scale, or an item is not of this audit.
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
                raise DataError(f"{path}:{number}: item {item!r} is not of this audit; was the sheet made for another?")
            yield *found, int(given)


def _rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield the rows of a sheet with their lines.

    Raises:
        DataError: it is not CSV, or lacks a column that is needed.
    """
    reader = csv.DictReader(file)
    try:
        if not {"item", "grade"} <= set(reader.fieldnames or ()):
            raise DataError(f"{path} has the columns {reader.fieldnames}; a sheet has {', '.join(COLUMNS)}")
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num} is not CSV: {error}") from error
