"""A person's judgments: a spreadsheet out, the same with grades back in.

The sheet is shuffled and holds no side, rank, index or document id, only an item's code, the query and the text.
"""

import csv
import random
from pathlib import Path

from connector.audit.folder import Folder, digest
from connector.audit.judgments import Grades, changed_documents
from slimrank.errors import DataError
from slimrank.files import open_text, replace_text

COLUMNS = ("item", "query", "document", "grade")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(folder: Folder, path: Path) -> int:
    """Write what is to be graded; return how many rows."""
    rows = [
        (item_code(row.query.query_id, doc_id), row.query.query, text)
        for row, documents in changed_documents(folder)
        for doc_id, text in documents
    ]
    random.Random(folder.spec.sample.seed).shuffle(rows)
    with replace_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((item, _inert(query), _inert(text), "") for item, query, text in rows)
    return len(rows)


def _inert(cell: str) -> str:
    """Keep a spreadsheet from running a text as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def item_code(query_id: str, doc_id: str) -> str:
    """Return the code of a query and document, which tells nothing of either."""
    return digest([query_id, doc_id])


def read_sheet(folder: Folder, path: Path) -> Grades:
    """Read a filled sheet; rows without a grade are passed over.

    Raises:
        DataError: a grade is not a whole number of the scale, or an item is not of this audit.
    """
    items = {
        item_code(row.query.query_id, doc_id): (row.query.query_id, doc_id)
        for row, documents in changed_documents(folder)
        for doc_id, _ in documents
    }
    grades: Grades = {}
    most = folder.spec.max_grade
    with open_text(path) as file:
        for number, record in enumerate(csv.DictReader(file), start=2):
            given = (record.get("grade") or "").strip()
            if not given:
                continue
            if not (given.isdigit() and int(given) <= most):
                raise DataError(f"{path}:{number}: a grade is a whole number from 0 to {most}; found {given!r}")
            if record.get("item") not in items:
                raise DataError(
                    f"{path}:{number}: item {record.get('item')!r} is not of this audit; was the sheet made for another?"
                )
            query_id, doc_id = items[record["item"]]
            grades.setdefault(query_id, {})[doc_id] = int(given)
    return grades
