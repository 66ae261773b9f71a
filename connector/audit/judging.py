"""Have every judge of the specification grade what changed, blind to the sides, each document once.

A judge sees a query and a text, in shuffled order, never a rank, an index or a side. What a model said is kept in a cache
keyed by judge, rubric, query and text, so a second audit, or one that was stopped, asks only for what is new.
"""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

from connector.audit.access import Access
from connector.audit.clicks import grade_clicks
from connector.audit.folder import Folder, read_lines
from connector.audit.graders import RUBRIC, Grader, open_grader
from connector.audit.judgments import Grades, changed_documents, from_qrels, grades_file, write_grades
from connector.audit.run import Progress
from connector.audit.sheet import read_sheet
from connector.audit.spec import Judge
from connector.cluster import Cluster

CACHE = "judgments.cache.jsonl"


def judge_all(folder: Folder, access: Access, cluster: Cluster, progress: Callable[[str], Progress]) -> None:
    """Let each judge grade; a model that has is not asked again, a file is read anew, a sheet not there yet passed over."""
    for judge in folder.spec.judges:
        path = grades_file(folder, judge)
        if judge.file or not path.is_file():
            grades = _grade(folder, judge, access, cluster, progress(f"judge: {judge.name}"))
            if grades is not None:
                write_grades(path, grades)


def _grade(folder: Folder, judge: Judge, access: Access, cluster: Cluster, progress: Progress) -> Grades | None:
    query_ids = {query.query_id for query in folder.queries()}
    match judge.kind:
        case "qrels" if judge.file:
            return from_qrels(judge.file, query_ids, folder.spec.max_grade)
        case "clicks":
            queries = {query.query: query.query_id for query in folder.queries()}
            return grade_clicks(judge, cluster, queries, folder.spec.max_grade)
        case "person":
            return read_sheet(folder, judge.file) if judge.file and judge.file.is_file() else None
        case _:
            with open_grader(judge, access, folder.spec.max_grade) as grader:
                return _grade_with(folder, judge, grader, progress)


def _grade_with(folder: Folder, judge: Judge, grader: Grader, progress: Progress) -> Grades:
    """Ask a model, a query at a time, for what the cache does not hold."""
    cache = Cache(folder.spec.cache or folder.path / "judgments" / CACHE)
    chance = random.Random(folder.spec.sample.seed)
    grades: Grades = {}
    total = sum(len(documents) for _, documents in changed_documents(folder))
    done = 0
    for row, documents in changed_documents(folder):
        chance.shuffle(documents)
        query = row.query.query
        keys = [cache_key(judge.name, folder.spec.max_grade, query, text) for _, text in documents]
        unknown = [place for place, key in enumerate(keys) if key not in cache.grades]
        answers = grader(query, [documents[place][1] for place in unknown]) if unknown else []
        for place, grade in zip(unknown, answers, strict=True):
            if grade is not None:
                cache.add(keys[place], grade)
        known = {doc_id: cache.grades[key] for (doc_id, _), key in zip(documents, keys, strict=True) if key in cache.grades}
        if known:
            grades[row.query.query_id] = known
        done += len(documents)
        progress(done, total)
    return grades


def cache_key(judge: str, max_grade: int, query: str, text: str) -> str:
    """Return the key of one grade."""
    return hashlib.sha256(json.dumps([judge, RUBRIC, max_grade, query, text], ensure_ascii=False).encode()).hexdigest()


class Cache:
    """Grades kept as they come, one line each; a line cut short by a kill is asked for again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.grades: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            whole = path.read_text(encoding="utf-8")
            path.write_text(whole[: whole.rfind("\n") + 1], encoding="utf-8")
            self.grades = {record["key"]: record["grade"] for record in read_lines(path)}

    def add(self, key: str, grade: int) -> None:
        """Keep one grade."""
        self.grades[key] = grade
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "grade": grade}) + "\n")
