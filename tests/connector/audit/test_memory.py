"""No step of an audit needs memory that grows with the number of queries: plan, run, two judges, report."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connector.audit.ask.access import Reached, Sides
from connector.audit.ask.plan import make_plan
from connector.audit.ask.run import run_audit
from connector.audit.flow import write_report
from connector.audit.folder import Folder
from connector.audit.judge.judging import _grade_with
from connector.audit.judge.judgments import from_qrels, grades_file, write_grades
from connector.audit.judge.sheet import write_sheet
from connector.audit.report.contents import examine
from connector.audit.spec import parse_spec
from tests.connector.audit.auditing import Judging

FEW, MANY = 200, 800
MOST_GROWTH = 250.0
"""Bytes for each query. It is a tenth of the memory for keeping every compared query, because buffers of fixed size still
grow."""
STATE: dict[str, Any] = {
    "/": {"cluster_name": "c", "version": {"number": "3.5.0", "distribution": "opensearch"}},
    "/v1": {"v1": {"settings": {"index.uuid": "1"}, "mappings": {"properties": {}}}},
    "/v1/_stats/docs,store,segments": {
        "indices": {
            "v1": {
                "primaries": {"docs": {"count": 90, "deleted": 0}},
                "shards": {"0": [{"seq_no": {"max_seq_no": 89}, "routing": {"primary": True}}]},
            }
        }
    },
}


class FakeCluster:
    """Answers like an index of 90 documents; the ranking depends on the query and on ``shift``."""

    def __init__(self, shift: int) -> None:
        self._shift = shift
        self.http = SimpleNamespace(base_url="http://nowhere")

    def find(self, path: str) -> dict[str, Any]:
        """Answer that the requested index exists."""
        return self.read(path)

    def read(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer a request."""
        path = path.partition("?")[0]
        if path in STATE:
            return dict(STATE[path])
        query = (body or {}).get("query", {})
        if "multi_match" in query:
            first = int(query["multi_match"]["query"].split()[-1]) * 7
            numbers = [(first + place * (1 + self._shift * (place > 3))) % 90 for place in range((body or {})["size"])]
        else:
            numbers = [int(doc_id[1:]) for doc_id in query.get("ids", {}).get("values", ())]
        hits = [_hit(number, 50.0 - place) for place, number in enumerate(numbers)]
        return {"took": 1, "hits": {"total": {"value": 90}, "hits": hits}, "tokens": []}


def _hit(number: int, score: float) -> dict[str, Any]:
    return {"_index": "v1", "_id": f"d{number}", "_score": score, "_source": {"title": f"text of {number}"}}


def grade(query: str, documents: Any) -> list[int | None]:
    return [len(query + text) % 4 for text in documents]


def audit(folder: Path, queries: int) -> dict[str, int]:
    """Audit this number of queries; return the peak memory of each step in bytes."""
    asked, qrels = folder / "queries.jsonl", folder / "qrels.tsv"
    asked.write_text(
        "".join(f'{{"query": "red shoes {n}", "query_id": "q{n:06}", "frequency": {1 + n % 9}}}\n' for n in range(queries))
    )
    qrels.write_text("".join(f"q{n:06}\td{d}\t{d % 4}\n" for n in range(queries) for d in range(0, 90, 3)))
    judges = [{"kind": "qrels", "file": str(qrels), "human": True}, {"kind": "chat", "url": "http://judge/v1", "model": "m"}]
    given = {"before": {"url": "http://engine", "index": "v1", "fields": ["title"]}, "after": {}, "queries": {"file": str(asked)}}
    spec = parse_spec(
        {
            **given,
            "judges": judges,
            "sample": {"size": queries},
            "requests_per_second": 1e6,
            "content": "counts",
            "depth": 6,
            "k": 5,
            "threads": 1,
        },
        "test",
    )
    made = Folder(folder / "audit")
    before, after = (Reached(side, FakeCluster(shift), None) for shift, side in enumerate((spec.before, spec.after)))  # type: ignore[arg-type]
    sides = Sides(before, after)
    steps = {
        "plan": lambda: make_plan(spec, made, sides),
        "run": lambda: run_audit(made, sides),
        "causes": lambda: examine(made, sides),
        "judge": lambda: judge(made),
        "sheet": lambda: write_sheet(made, folder / "sheet.csv"),
        "report": lambda: write_report(made),
    }
    return {name: peak(step) for name, step in steps.items()}


def judge(folder: Folder) -> None:
    """Let people and a model judge."""
    human, model = folder.spec.judges
    assert human.file is not None
    write_grades(grades_file(folder, human), from_qrels(human.file, (query.query_id for query in folder.queries()), 3))
    write_grades(grades_file(folder, model), _grade_with(folder, Judging(grade), lambda done, total: None))


def peak(step: Callable[[], object]) -> int:
    """Return the peak memory of a step in bytes, without the memory that was used before it."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.audit.spill.BLOCK", 100)
    monkeypatch.setattr("connector.audit.compare.significance.ROUNDS", 199)
    monkeypatch.setattr("connector.audit.compare.causes._INSPECTED", 20)
    for name in ("warm", "few", "many"):
        (tmp_path / name).mkdir()
    audit(tmp_path / "warm", 40)  # imports and compiled patterns
    few, many = audit(tmp_path / "few", FEW), audit(tmp_path / "many", MANY)
    growth = {name: (many[name] - few[name]) / (MANY - FEW) for name in few}
    assert max(growth.values()) < MOST_GROWTH, growth
    report = Folder(tmp_path / "many" / "audit").read("report.json")
    assert report["queries"]["changed"] == MANY
    assert report["judged_queries"] == MANY
