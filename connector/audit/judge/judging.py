"""Let every judge of the specification grade the changed documents, each once, without knowing the sides.

A judge sees a query and its texts in shuffled order, but no rank, index or side. A model's grades are kept in a cache with the
key model, rubric, query and text. So a second audit, or an audit that was stopped, asks only for new grades.
"""

import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.audit.ask.access import Access
from connector.audit.ask.run import Progress
from connector.audit.folder import Folder
from connector.audit.judge.clicks import grade_clicks
from connector.audit.judge.graders import Grader, open_grader
from connector.audit.judge.judgments import changed_documents, from_qrels, grades_file, identity_file, write_grades
from connector.audit.judge.sheet import read_sheet
from connector.audit.spec import Judge
from connector.audit.spill import Grade
from connector.cluster import Cluster
from slimrank.errors import DataError
from slimrank.types import Json

CACHE = "judgments.cache.sqlite"


def judge_all(folder: Folder, access: Access, cluster: Cluster, progress: Callable[[str], Progress]) -> None:
    """Let each judge grade. A model is not asked again, a file is read again, and a sheet that does not exist yet is skipped."""
    for judge in folder.spec.judges:
        path = grades_file(folder, judge)
        if judge.kind == "person" and not (judge.file and judge.file.is_file()):
            continue
        if judge.file or not path.is_file():
            write_grades(path, _some(judge, _grade(folder, judge, access, cluster, progress(f"judge: {judge.name}"))))


def _some(judge: Judge, grades: Iterator[Grade]) -> Iterator[Grade]:
    """Yield the grades. It is an error if a file or index of judgments grades none of the audit's queries.

    Raises:
        DataError: there is no grade.
    """
    first = next(grades, None)
    if first is None and judge.kind in ("qrels", "clicks"):
        raise DataError(
            f"the judge {judge.name} ({judge.file or judge.index}) grades none of the audit's queries: "
            + (
                "their `_id` or `query_id` must be the ids in the judgments"
                if judge.kind == "qrels"
                else "their texts must be the texts in the log"
            )
        )
    if first is not None:
        yield first
    yield from grades


def _grade(folder: Folder, judge: Judge, access: Access, cluster: Cluster, progress: Progress) -> Iterator[Grade]:
    most = folder.spec.max_grade
    if judge.kind == "clicks":
        yield from grade_clicks(judge, cluster, folder.queries(), most)
    elif judge.file and judge.kind == "qrels":
        yield from from_qrels(judge.file, (query.query_id for query in folder.queries()), most)
    elif judge.file and judge.kind == "person":
        yield from read_sheet(folder, judge.file)
    else:
        with open_grader(judge, access, most) as grader:
            folder.write(identity_file(folder, judge), grader.identity)
            yield from _grade_with(folder, grader, progress)


def _grade_with(folder: Folder, grader: Grader, progress: Progress) -> Iterator[Grade]:
    """Ask a model, one query at a time, for the grades that are not in the cache."""
    chance = random.Random(folder.spec.sample.seed)
    total = sum(len(documents) for _, documents in changed_documents(folder))
    done = 0
    with open_cache(folder.spec.cache or folder.path / "judgments" / CACHE) as cache:
        for row, documents in changed_documents(folder):
            chance.shuffle(documents)
            query = row.query.query
            keys = [cache_key(grader.identity, folder.spec.max_grade, query, text) for _, text in documents]
            grades = [cache.get(key) for key in keys]
            unknown = [place for place, grade in enumerate(grades) if grade is None]
            answers = grader(query, [documents[place][1] for place in unknown]) if unknown else []
            for place, grade in zip(unknown, answers, strict=True):
                if grade is not None:
                    cache.add(keys[place], grade)
                grades[place] = grade
            named = sorted((doc_id, grade) for (doc_id, _), grade in zip(documents, grades, strict=True) if grade is not None)
            yield from ((row.query.query_id, doc_id, grade) for doc_id, grade in named)
            done += len(documents)
            progress(done, total)


def cache_key(judge: Json, max_grade: int, query: str, text: str) -> str:
    """Return the cache key of a grade. Other weights, or another prompt or rubric, give another key."""
    content = json.dumps([judge, max_grade, query, text], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


class Cache:
    """A cache of grades on disk. Each grade is written at once, so a killed process loses none."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, key: str) -> int | None:
        """Return the grade; None if it is not in the cache."""
        found = self._database.execute("SELECT grade FROM grades WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else None

    def add(self, key: str, grade: int) -> None:
        """Keep one grade."""
        self._database.execute("INSERT OR REPLACE INTO grades VALUES (?, ?)", (key, grade))


@contextmanager
def open_cache(path: Path) -> Iterator[Cache]:
    """Yield the cache in a file; the file is created if it does not exist.

    Raises:
        DataError: the file is something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = OFF")  # the data survive a killed process, which is enough here
        database.execute("CREATE TABLE IF NOT EXISTS grades (key TEXT PRIMARY KEY, grade INTEGER) WITHOUT ROWID")
        yield Cache(database)
    except sqlite3.OperationalError as error:
        raise DataError(
            f"cannot use the cache of grades {path}: {error}; name another file with `cache`, or free some space"
        ) from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is not a cache of grades ({error}); name another file with `cache`, or remove it") from error
    finally:
        database.close()
