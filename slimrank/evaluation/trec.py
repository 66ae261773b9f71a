"""TREC run and qrels files, plain, ``.gz`` or ``.zst``.

Run lines: ``query_id Q0 doc_id rank score tag``; qrels lines: ``query_id 0 doc_id relevance``
(trec_eval's formats). A run is written best first, and read back with the scores it states.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from slimrank.errors import DataError
from slimrank.evaluation.columns import check_ids, grade_of, score_of
from slimrank.files import open_text, replace_text
from slimrank.types import Qrels, Run


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a run.

    Raises:
        DataError: a line is not six columns, its score is not a number, or there is no line.
    """
    run: dict[str, dict[str, float]] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                query_id, _, doc_id, _, score, _ = line.split()
                run.setdefault(query_id, {})[doc_id] = score_of(score)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected `query_id Q0 doc_id rank score tag`; found {line.strip()[:80]!r}"
                ) from error
    if not run:
        raise DataError(f"{path} is empty; a run has lines such as `q1 Q0 d7 1 12.5 bm25`")
    return run


def write_run(path: Path, run: Run, *, tag: str) -> None:
    """Write a run, each query's documents by falling score, ties in the order given.

    Raises:
        DataError: an id holds a space, which would be two columns.
    """
    check_columns(run)
    with replace_text(path) as file:
        for query_id, scores in run.items():
            best_first = sorted(scores.items(), key=lambda item: -item[1])
            file.writelines(
                f"{query_id} Q0 {doc_id} {rank} {score:.9g} {'_'.join(tag.split()) or 'run'}\n"
                for rank, (doc_id, score) in enumerate(best_first, start=1)
            )


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read TREC qrels.

    Raises:
        DataError: a line is not four columns, its relevance is not an integer, or there is no line.
    """
    qrels: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in iterate_qrels(path):
        qrels.setdefault(query_id, {})[doc_id] = relevance
    if not qrels:
        raise DataError(f"{path} is empty; judgments are lines such as `q1 0 d7 1`")
    return qrels


def iterate_qrels(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield query id, document id and relevance, a line at a time."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                query_id, _, doc_id, relevance = line.split()
                yield query_id, doc_id, grade_of(relevance)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected `query_id 0 doc_id relevance`; found {line.strip()[:80]!r}"
                ) from error


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Write TREC qrels.

    Raises:
        DataError: an id holds a space.
    """
    check_columns(qrels)
    with replace_text(path) as file:
        for query_id, judged in qrels.items():
            file.writelines(f"{query_id} 0 {doc_id} {relevance}\n" for doc_id, relevance in judged.items())


def check_columns(table: Mapping[str, Collection[str]]) -> None:
    """Refuse query ids and document ids that TREC's lines cannot hold.

    Raises:
        DataError: one is empty, or holds a space.
    """
    check_ids(table, columns="a TREC file")
    for documents in {id(ids): ids for ids in table.values()}.values():  # the same documents of many queries once
        check_ids(documents, columns="a TREC file")
