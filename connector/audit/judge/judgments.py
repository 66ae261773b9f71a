"""Grades on disk, one file for each judge, and the combined judgments that the measures use.

Grades are keyed by query id and business id, never by index name, so they stay valid if an index is rebuilt under another name.
If several judges graded a document, the judge that the specification lists first counts. The report shows their agreement.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from connector.audit.compare.by_query import Row, compare_query
from connector.audit.folder import Folder, digest, read_lines, write_lines
from connector.audit.spec import Judge, Spec
from connector.audit.spill import Grade, in_order
from slimrank.evaluation import beir, trec
from slimrank.files import plain_name
from slimrank.types import Json


def grades_file(folder: Folder, judge: Judge) -> Path:
    """Return the file of a judge's grades; another model or scale has another file."""
    key = digest([judge.model_dump(mode="json"), folder.spec.max_grade, folder.spec.judge_moved])
    return folder.path / "judgments" / f"{judge.kind}-{key[:8]}.jsonl"


def write_grades(path: Path, grades: Iterable[Grade]) -> None:
    """Write grades, which must be ordered by query id and document id."""
    write_lines(path, ({"query_id": query_id, "doc_id": doc_id, "grade": grade} for query_id, doc_id, grade in grades))


def identity_file(folder: Folder, judge: Judge) -> str:
    """Return the name of the file that records which model graded, and by which instructions."""
    return f"judgments/{grades_file(folder, judge).stem}.judge.json"


def read_identity(folder: Folder, judge: Judge) -> Json:
    """Return what is known of the model that graded; empty if the judge is not a model."""
    name = identity_file(folder, judge)
    return folder.read(name) if folder.has(name) else {}


def read_grades(path: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield each query id with its grades by document id, in order; yield nothing if the judge has not graded yet."""
    records = read_lines(path) if path.is_file() else iter(())
    for query_id, some in groupby(records, key=lambda record: str(record["query_id"])):
        yield query_id, {record["doc_id"]: record["grade"] for record in some}


def in_step(path: Path) -> Callable[[str], Mapping[str, int]]:
    """Return a function that returns a query's grades. Call it in the order of query ids, so that the file is read only once."""
    groups = read_grades(path)
    query_id, grades = next(groups, (None, {}))

    def of(wanted: str) -> Mapping[str, int]:
        nonlocal query_id, grades
        while query_id is not None and query_id < wanted:
            query_id, grades = next(groups, (None, {}))
        return grades if query_id == wanted else {}

    return of


def judgments(folder: Folder) -> Callable[[str], Mapping[str, int]]:
    """Return a function that returns a query's grades, each by the first judge that graded. Call it in the order of query ids."""
    readers = [in_step(grades_file(folder, judge)) for judge in folder.spec.judges]

    def of(query_id: str) -> Mapping[str, int]:
        merged: dict[str, int] = {}
        for reader in reversed(readers):
            merged.update(reader(query_id))
        return merged

    return of


def from_qrels(path: Path, query_ids: Iterable[str], max_grade: int) -> Iterator[Grade]:
    """Yield the judgments of the audit's queries from BEIR or TREC qrels; grades are limited to 0 .. max_grade."""
    is_beir = plain_name(path).endswith(".tsv")
    qrels = beir.iterate_qrels(path) if is_beir else trec.iterate_qrels(path)
    return in_order(((query_id, doc_id, min(max(grade, 0), max_grade)) for query_id, doc_id, grade in qrels), query_ids)


def to_judge(row: Row, moved: bool) -> list[str]:
    """Return the documents of a query whose grade can change a difference between the sides.

    A document with the same rank on both sides adds the same to both and cancels out. A document that entered or left the top k
    counts on one side only. A document that moved within the top k changes nDCG, RR and AP, but not P; if ``moved`` is false, it
    is left out.
    """
    ranks = {document: rank for rank, document in enumerate(row.before)}
    left = [document for document in row.before if document not in set(row.after)]
    entered = [document for document in row.after if document not in ranks]
    shifted = [document for rank, document in enumerate(row.after) if ranks.get(document, rank) != rank]
    return left + entered + (shifted if moved else [])


def changed_documents(folder: Folder) -> Iterator[tuple[Row, list[tuple[str, str]]]]:
    """Yield each changed query with (doc_id, text) of the documents to judge, by query id."""
    spec: Spec = folder.spec
    for query, (answer, documents) in zip(folder.queries(), folder.documents(), strict=True):
        row = compare_query(query, answer["before"], answer["after"], {}, spec)
        if row.changed:
            yield row, [(doc_id, _text(documents[doc_id])) for doc_id in to_judge(row, spec.judge_moved) if doc_id in documents]


def _text(document: Json) -> str:
    """Return a document's text: the old side's text if both sides have one, so that the text does not reveal the side."""
    side = document["before"] or document["after"] or {"text": ""}
    return str(side["text"])
