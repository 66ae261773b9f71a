"""A person's judgments: a spreadsheet out, the same with grades back in.

The sheet holds no side, rank, index or document id, only an item's code, the query and the text. It is ordered by the
code, a hash, so what belongs together stands nowhere together.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from connector.audit.folder import Folder, digest
from connector.audit.judgments import changed_documents
from connector.audit.spill import Grade, in_order, scratch
from slimrank.errors import DataError
from slimrank.files import open_text, replace_text

COLUMNS = ("item", "query", "document", "grade")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((*item, "") for item in database.execute("SELECT * FROM items ORDER BY item"))
        (count,) = database.execute("SELECT COUNT(*) FROM items").fetchone()
    return int(count)


def _inert(cell: str) -> str:
    """Keep a spreadsheet from running a text as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


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
    with scratch() as database, open_text(path) as file:
        database.execute("CREATE TABLE items (item PRIMARY KEY, query_id, doc_id) WITHOUT ROWID")
        database.executemany("INSERT INTO items VALUES (?, ?, ?)", items)
        for number, record in enumerate(csv.DictReader(file), start=2):
            given = (record.get("grade") or "").strip()
            if not given:
                continue
            if not (given.isdigit() and int(given) <= most):
                raise DataError(f"{path}:{number}: a grade is a whole number from 0 to {most}; found {given!r}")
            item = record.get("item")
            found = database.execute("SELECT query_id, doc_id FROM items WHERE item = ?", (item,)).fetchone()
            if found is None:
                raise DataError(f"{path}:{number}: item {item!r} is not of this audit; was the sheet made for another?")
            yield *found, int(given)
