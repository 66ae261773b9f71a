"""Other ways in than a BEIR folder with labels: a CSV file, a TREC run, a corpus without queries.

Each becomes a ``Collection`` or a first stage for ``training.data.groups``.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from slimrank.errors import DataError
from slimrank.evaluation import trec
from slimrank.evaluation.beir import Collection, Document, iterate_documents, query_texts
from slimrank.evaluation.columns import grade_of
from slimrank.files import open_text

COLUMNS = ("query", "document", "label")


def read_csv(path: Path) -> Collection:
    """Read a CSV file with a header and the columns query, document, label (an integer >= 0).

    Raises:
        DataError: a column is missing or a label is not an integer.
    """
    documents: dict[str, Document] = {}
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    doc_ids: dict[str, str] = {}
    query_ids: dict[str, str] = {}
    with open_text(path) as file:
        for number, row in _rows(file, path):
            doc_id = doc_ids.setdefault(row["document"], f"d{len(doc_ids)}")
            query_id = query_ids.setdefault(row["query"], f"q{len(query_ids)}")
            documents[doc_id] = Document(doc_id, "", row["document"])
            queries[query_id] = row["query"]
            try:
                qrels.setdefault(query_id, {})[doc_id] = grade_of(row["label"])
            except ValueError as error:
                raise DataError(f"{path}:{number}: the label must be an integer, found {row['label'][:40]!r}") from error
    if not qrels:
        raise DataError(f"{path} holds no rows")
    return Collection(path.stem, documents, queries, qrels)


def _rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows with their lines.

    Raises:
        DataError: it is not CSV, lacks a column, or a row is cut short.
    """
    rows = csv.DictReader(file)
    try:
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise DataError(f"{path} has the columns {rows.fieldnames}; it needs {', '.join(COLUMNS)}")
        for row in rows:
            if any(row[name] is None for name in COLUMNS):
                raise DataError(f"{path}:{rows.line_num}: the row lacks a column; it needs {', '.join(COLUMNS)}")
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num} is not CSV: {error}") from error


def read_trec(folder: Path, qrels_file: Path) -> Collection:
    """Read the corpus and the queries' texts of a folder, and TREC qrels that judge them.

    Raises:
        DataError: a file is missing or malformed, or a judged query has no text.
    """
    qrels = trec.read_qrels(qrels_file)
    documents = {document.doc_id: document for document in iterate_documents(folder)}
    return Collection(folder.name, documents, query_texts(folder, qrels), qrels)


def unlabelled(folder: Path) -> Collection:
    """Read the corpus of a BEIR folder alone, without queries and judgments."""
    documents = {document.doc_id: document for document in iterate_documents(folder)}
    if not documents:
        raise DataError(f"{folder} holds no documents")
    return Collection(folder.name, documents, {}, {})


class RecordedFirstStage:
    """A first stage known by its TREC run: negatives from whatever engine will be served.

    Args:
        path: The run.
        queries: query_id -> text, as in the collection.
    """

    def __init__(self, path: Path, queries: Mapping[str, str]) -> None:
        run = trec.read_run(path)
        self._hits = {text: run[query_id] for query_id, text in queries.items() if query_id in run}
        if not self._hits:
            raise DataError(f"{path} ranks none of the collection's {len(queries)} queries; are the query ids the same?")

    def search(self, query: str, depth: int) -> dict[str, float]:
        """Return the recorded hits of a query, best first; none for a query the run does not know."""
        best = sorted(self._hits.get(query, {}).items(), key=lambda hit: -hit[1])
        return dict(best[:depth])
