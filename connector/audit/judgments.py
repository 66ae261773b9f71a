"""Grades on disk, one file a judge, and the one set of judgments that the measures use.

Keyed by query id and business id, never by index name: judgments live on when an index is rebuilt under another name.
Where several judges graded a document, the one listed first in the specification counts; their agreement is reported.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from connector.audit.compare import Row, compare_query
from connector.audit.folder import Folder, digest, read_lines, write_lines
from connector.audit.spec import Json, Judge, Spec
from slimrank import beir, trec

Grades = dict[str, dict[str, int]]
"""query_id -> doc_id -> grade."""


def grades_file(folder: Folder, judge: Judge) -> Path:
    """Return where a judge's grades are, those of another model or scale elsewhere."""
    key = digest([judge.model_dump(mode="json"), folder.spec.max_grade, folder.spec.judge_moved])
    return folder.path / "judgments" / f"{judge.kind}-{key[:8]}.jsonl"


def write_grades(path: Path, grades: Grades) -> None:
    """Write grades, sorted."""
    write_lines(
        path,
        (
            {"query_id": query_id, "doc_id": doc_id, "grade": grade}
            for query_id, judged in sorted(grades.items())
            for doc_id, grade in sorted(judged.items())
        ),
    )


def read_grades(path: Path) -> Grades:
    """Read grades; none where the judge has not graded yet."""
    grades: Grades = {}
    for record in read_lines(path) if path.is_file() else ():
        grades.setdefault(record["query_id"], {})[record["doc_id"]] = record["grade"]
    return grades


def all_grades(folder: Folder) -> list[tuple[Judge, Grades]]:
    """Return each judge of the specification with its grades."""
    return [(judge, read_grades(grades_file(folder, judge))) for judge in folder.spec.judges]


def merge(judged: Sequence[tuple[Judge, Grades]]) -> Grades:
    """Return one grade a document: that of the first judge."""
    merged: Grades = {}
    for _, grades in reversed(judged):
        for query_id, some in grades.items():
            merged.setdefault(query_id, {}).update(some)
    return merged


def from_qrels(path: Path, query_ids: set[str], max_grade: int) -> Grades:
    """Read the audit's queries' judgments from BEIR's .tsv or TREC's qrels; grades below 0 count as 0, above the most as that."""
    qrels = beir.read_qrels(path) if path.name.removesuffix(".gz").endswith(".tsv") else trec.read_qrels(path)
    return {
        query_id: {doc_id: min(max(grade, 0), max_grade) for doc_id, grade in judged.items()}
        for query_id, judged in qrels.items()
        if query_id in query_ids
    }


def to_judge(row: Row, moved: bool) -> list[str]:
    """Return the documents of a query whose grade can change a difference: all else cancels out.

    A document at one rank on both sides adds the same to both. One that entered or left the top k counts on one side
    only, one that moved within it counts differently in nDCG, RR and AP, and the same in P: leave it out with `moved` false.
    """
    ranks = {document: rank for rank, document in enumerate(row.before)}
    left = [document for document in row.before if document not in set(row.after)]
    entered = [document for document in row.after if document not in ranks]
    shifted = [document for rank, document in enumerate(row.after) if ranks.get(document, rank) != rank]
    return left + entered + (shifted if moved else [])


def changed_documents(folder: Folder) -> Iterator[tuple[Row, list[tuple[str, str]]]]:
    """Yield each changed query with (doc_id, text) of what is to be judged, by query id."""
    spec: Spec = folder.spec
    for query, (answer, documents) in zip(folder.queries(), folder.documents(), strict=True):
        row = compare_query(query, answer["before"], answer["after"], {}, spec)
        if row.changed:
            yield row, [(doc_id, _text(documents[doc_id])) for doc_id in to_judge(row, spec.judge_moved) if doc_id in documents]


def _text(document: Json) -> str:
    """Return a document's text: the old side's where both hold it, so that a grade does not tell the sides apart."""
    side = document["before"] or document["after"] or {"text": ""}
    return str(side["text"])
