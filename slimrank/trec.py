"""TREC run and qrels files, plain or ``.gz``.

Run lines: ``query_id Q0 doc_id rank score tag``; qrels lines: ``query_id 0 doc_id relevance``
(trec_eval's formats). A run is written best first, and read back with the scores it states.
"""

from collections.abc import Iterator
from pathlib import Path

from slimrank.errors import DataError
from slimrank.files import open_text, replace_text
from slimrank.types import Qrels, Run


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a run.

    Raises:
        DataError: a line is not six columns, or its score is not a number.
    """
    run: dict[str, dict[str, float]] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                query_id, _, doc_id, _, score, _ = line.split()
                run.setdefault(query_id, {})[doc_id] = float(score)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected `query_id Q0 doc_id rank score tag`; found {line.strip()[:80]!r}"
                ) from error
    return run


def write_run(path: Path, run: Run, *, tag: str) -> None:
    """Write a run, each query's documents by falling score, ties in the order given."""
    with replace_text(path) as file:
        for query_id, scores in run.items():
            best_first = sorted(scores.items(), key=lambda item: -item[1])
            file.writelines(
                f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n" for rank, (doc_id, score) in enumerate(best_first, start=1)
            )


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read TREC qrels.

    Raises:
        DataError: a line is not four columns, or its relevance is not an integer.
    """
    qrels: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in iterate_qrels(path):
        qrels.setdefault(query_id, {})[doc_id] = relevance
    return qrels


def iterate_qrels(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield query id, document id and relevance, a line at a time."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                query_id, _, doc_id, relevance = line.split()
                yield query_id, doc_id, int(relevance)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected `query_id 0 doc_id relevance`; found {line.strip()[:80]!r}"
                ) from error


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Write TREC qrels."""
    with replace_text(path) as file:
        for query_id, judged in qrels.items():
            file.writelines(f"{query_id} 0 {doc_id} {relevance}\n" for doc_id, relevance in judged.items())
