"""Judges grade only changed documents, blind and shuffled, and a cache keeps their grades; agreement and partiality."""

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from connector.audit.ask.access import Access
from connector.audit.compare.by_query import compare_query
from connector.audit.compare.tally import tallied
from connector.audit.folder import Folder, write_lines
from connector.audit.judge import agreement
from connector.audit.judge.clicks import Event, coec
from connector.audit.judge.graders import ChatGrader, GatewayGrader, grade_of, open_grader, parse_grade
from connector.audit.judge.judging import _grade_with, cache_key, judge_all, open_cache
from connector.audit.judge.judgments import grades_file, identity_file, judgments, to_judge, write_grades
from connector.audit.judge.sheet import _inert, read_sheet, write_sheet
from connector.audit.sample import Query
from connector.audit.spec import Judge, parse_spec
from connector.cluster import Cluster
from connector.gateway_client import GatewayScorer
from slimrank.errors import DataError, EngineRefused
from tests.connector.audit.auditing import Judging

PLAN: dict[str, Any] = {
    "before": {"url": "http://engine", "index": "v1", "fields": ["title"]},
    "after": {"index": "v2"},
    "queries": {"file": "q.txt"},
    "k": 3,
}
SPEC = parse_spec(PLAN, "test")


def answer(*ids: str) -> dict[str, Any]:
    return {"ids": list(ids), "scores": [1.0] * len(ids), "total": len(ids)}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an audit of two queries; only the first query changed."""
    made = Folder(tmp_path)
    made.write("plan.json", {"spec": SPEC.model_dump(mode="json"), "queries": 2})
    made.write_queries([Query("q1", "red shoes", 3, 3, "all"), Query("q2", "hats", 1, 1, "all")])
    rows = [
        {"query_id": "q1", "before": answer("a", "b", "c"), "after": answer("a", "c", "=d")},
        {"query_id": "q2", "before": answer("h"), "after": answer("h")},
    ]
    write_lines(made.answers_file(0), rows)
    sides = {doc_id: {"_id": doc_id, "text": f"text of {doc_id}", "fields": {}} for doc_id in ("a", "b", "c", "=d")}
    write_lines(
        made.documents_file(0),
        ({"doc_id": d, "before": None if d == "=d" else side, "after": None if d == "b" else side} for d, side in sides.items()),
    )
    return made


def test_only_documents_that_entered_left_or_moved_are_judged() -> None:
    row = compare_query(Query("q", "x", 1, 1, "all"), answer("a", "b", "c"), answer("a", "c", "d"), {}, SPEC)
    assert to_judge(row, moved=True) == ["b", "d", "c"]
    assert to_judge(row, moved=False) == ["b", "d"]


def test_judging_only_the_changes_gives_the_same_difference_as_judging_all() -> None:
    grades = {"a": 3, "b": 1, "c": 2, "d": 0}
    query = Query("q", "x", 1, 1, "all")
    rankings = answer("a", "b", "c"), answer("a", "c", "d")
    row = compare_query(query, *rankings, {}, SPEC)
    some = {document: grades[document] for document in to_judge(row, moved=True)}
    partly, fully = (compare_query(query, *rankings, judged, SPEC).values["P"] for judged in (some, grades))
    assert partly[1] - partly[0] == pytest.approx(fully[1] - fully[0])


def test_a_model_is_asked_once_and_does_not_see_the_sides(folder: Folder) -> None:
    asked: list[tuple[str, list[str]]] = []

    def grader(query: str, documents: Any) -> list[int | None]:
        asked.append((query, list(documents)))
        return [2 if text.endswith("b") else None if text.endswith("c") else 1 for text in documents]

    grades = list(_grade_with(folder, Judging(grader), lambda done, total: None))
    assert grades == [("q1", "=d", 1), ("q1", "b", 2)]
    assert [(query, sorted(texts)) for query, texts in asked] == [("red shoes", ["text of =d", "text of b", "text of c"])]
    asked.clear()
    assert list(_grade_with(folder, Judging(grader), lambda done, total: None)) == grades
    assert asked == [("red shoes", ["text of c"])]


def test_the_cache_survives_a_process_that_stops_half_way(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt), open_cache(path) as cache:
        cache.add("a", 1)
        raise KeyboardInterrupt
    with open_cache(path) as cache:
        assert (cache.get("a"), cache.get("b")) == (1, None)


def test_a_file_that_is_not_a_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_text("something else, and long enough to be looked at")
    with pytest.raises(DataError, match="is not a cache of grades"), open_cache(path):
        pass


def test_a_sheet_hides_the_sides_and_its_grades_are_read(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    assert write_sheet(folder, path) == 3
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert rows[0].keys() == {"item", "query", "document", "grade"}
    assert "v1" not in path.read_text()
    assert "=d" not in "".join(row["item"] for row in rows)
    for row in rows:
        row["grade"] = "3" if row["document"] == "text of =d" else ""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert list(read_sheet(folder, path)) == [("q1", "=d", 3)]


@pytest.mark.parametrize("kind", ["qrels", "clicks"])
def test_judgments_that_match_no_query_are_an_error(folder: Folder, tmp_path: Path, kind: str) -> None:
    file = tmp_path / ("others.tsv" if kind == "qrels" else "others.jsonl")
    file.write_text(
        "another-query\ta\t1\n" if kind == "qrels" else '{"query": "x", "doc_id": "a", "rank": 1, "action": "click"}\n'
    )
    spec = SPEC.model_copy(update={"judges": [Judge.model_validate({"kind": kind, "file": file})]})
    folder.write_plan({"spec": spec.model_dump(mode="json"), "queries": 2})
    with pytest.raises(DataError, match="grades none of the audit's queries"):
        judge_all(folder, Access(), Cluster(httpx.Client()), lambda step: lambda done, total: None)
    assert not list((folder.path / "judgments").glob("*"))


def test_an_invalid_grade_and_an_unknown_item_are_named(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("item,query,document,grade\nx,q,d,7\n")
    with pytest.raises(DataError, match=r"sheet\.csv:2: a grade is a whole number from 0 to 3; found '7'"):
        list(read_sheet(folder, path))
    path.write_text("item,query,document,grade\nx,q,d,1\n")
    with pytest.raises(DataError, match="made for another"):
        list(read_sheet(folder, path))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d"])
@pytest.mark.parametrize("before", ["", " ", "\t", "red shoes;", "red shoes,", "red shoes\n", "red shoes\r", 'red "shoes"; '])
def test_no_cell_of_a_sheet_begins_with_a_formula_with_any_separator(before: str, sign: str) -> None:
    cell = _inert(f"{before}{sign}HYPERLINK(1)")
    assert cell == f"{before}'{sign}HYPERLINK(1)"


def test_a_sheet_contains_no_control_characters() -> None:
    assert _inert("red\x00\x1b[31m shoes\nnew") == "red[31m shoes\nnew"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a;b\n", "has the columns"),
        ("", "has the columns"),
        ("item,grade\nx,\u00b2\n", "whole number"),
        ("item,grade\nx," + "9" * 5000 + "\n", "whole number"),
        ("item,grade\n" + "x" * 200_000 + ",1\n", "is not CSV"),
    ],
    ids=["other", "empty", "superscript", "long", "wide"],
)
def test_an_invalid_sheet_is_named(folder: Folder, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "sheet.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        list(read_sheet(folder, tmp_path / "sheet.csv"))


@pytest.mark.parametrize(
    ("text", "grade"),
    [("2", 2), ("Grade: 3", 3), ("**1**", 1), ("0.", 0), ("7", None), ("2 or 3", None), ("1.5", None), ("", None)],
)
def test_an_answer_with_exactly_one_valid_grade_is_a_grade(text: str, grade: int | None) -> None:
    assert parse_grade(text, 3) == grade


def test_a_chat_judge_sends_rubric_query_and_document_only() -> None:
    bodies: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": {"content": "2"}}]})

    with httpx.Client(transport=httpx.MockTransport(handle)) as http:
        assert ChatGrader(http, "http://x/v1", "m", 3)("red", ["a document"]) == [2]
    assert bodies[0]["temperature"] == 0
    assert bodies[0]["messages"][1]["content"] == "Query: red\n\nDocument:\na document\n\nGrade:"


def test_a_gateway_judge_matches_scores_by_index() -> None:
    bodies: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        documents = bodies[-1]["documents"]
        results = [{"index": index, "relevance_score": 0.9 if index else 0.1} for index in reversed(range(len(documents)))]
        return httpx.Response(200, json={"results": results, "meta": {"model": "m", "model_sha256": "w"}})

    with httpx.Client(transport=httpx.MockTransport(handle)) as http:
        grader = GatewayGrader(GatewayScorer("http://x", priority="audit", model="m", http=http), 3)
        assert grader("red", ["a", "b"]) == [0, 3]
        assert grader.identity == {"model": "m", "model_sha256": "w", "score": 0.1}
    asked = [(body["model"], body["priority"], body["raw_scores"]) for body in bodies]
    assert asked == [("m", "audit", False), ("m", "audit", True)]  # grades are made from probabilities
    other = {**grader.identity, "model_sha256": "x"}
    assert len({cache_key(of, 3, "red", "a") for of in (grader.identity, other)}) == 2  # other weights have another key


def test_a_judge_that_refuses_is_named() -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(401, text="who are you"))) as http,
        pytest.raises(EngineRefused, match="401: who are you"),
    ):
        ChatGrader(http, "http://x/v1", "m", 3)("red", ["a"])


@pytest.mark.parametrize("answered", ["<html>", "{}", '{"choices": []}', '{"choices": [{"message": null}]}', "[1]"])
def test_a_judge_that_is_not_a_chat_endpoint_is_named(answered: str) -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text=answered))) as http,
        pytest.raises(EngineRefused, match=r"is not a chat completion: .*; name an OpenAI-compatible endpoint"),
    ):
        ChatGrader(http, "http://x/v1", "m", 3)("red", ["a"])


def test_the_model_can_grade_in_this_process(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMRANK_MODEL", str(tiny_model))
    with open_grader(Judge(kind="reranker", url="local"), Access(), 3) as grader:
        grades = grader("red shoes", ["a red shoe", "a blue hat"])
        assert grader("red shoes", ["a blue hat", "a red shoe"]) == grades[::-1]
    assert all(grade in (0, 1, 2, 3) for grade in grades)


def test_probabilities_become_grades_of_equal_width() -> None:
    assert [grade_of(p, 3) for p in (0.0, 0.24, 0.25, 0.74, 0.75, 1.0)] == [0, 0, 1, 2, 3, 3]


def test_clicks_are_divided_by_the_expected_clicks_of_the_rank() -> None:
    events = [Event("q", "a", 1, False)] * 20 + [Event("q", "a", 1, True)] * 10
    events += [Event("q", "b", 2, False)] * 20 + [Event("q", "b", 2, True)] * 2
    events += [Event("r", "c", 2, False)] * 20 + [Event("r", "c", 2, True)] * 6 + [Event("q", "rare", 1, False)] * 3
    found = {(query, doc_id): value for query, doc_id, value in coec(events)}
    # rank 1 earns 10/23, rank 2 earns 8/40
    assert found == pytest.approx({("q", "a"): 10 / (20 * 10 / 23), ("q", "b"): 2 / (20 * 0.2), ("r", "c"): 6 / (20 * 0.2)})


def test_kappa_of_a_hand_worked_table() -> None:
    # Cohen's example of two judges: 20 and 15 agreements, 5 and 10 disagreements; observed .7, expected .5
    table = np.array([[15, 10], [5, 20]])
    assert agreement.kappa(table, weighted=False) == pytest.approx(0.4)
    assert agreement.kappa(table, weighted=True) == pytest.approx(0.4)


def test_a_near_miss_costs_less_in_weighted_kappa() -> None:
    near, far = np.diag([10] * 4), np.diag([10] * 4)
    near[3, 2] = far[3, 0] = 10
    assert agreement.kappa(near, weighted=True) > agreement.kappa(far, weighted=True)
    assert agreement.kappa(near, weighted=False) > 0.7


def test_agreement_has_an_interval_and_needs_shared_documents() -> None:
    found = agreement.agree(np.diag([12] * 4) + np.diag([3] * 3, 1), seed=0)
    assert found is not None
    assert found["kappa"]["low"] < found["kappa"]["value"] < found["kappa"]["high"]
    assert agreement.agree(np.zeros((4, 4), dtype=np.int64), seed=0) is None


@pytest.mark.parametrize(
    ("model", "rankers", "partial"),
    [
        ("qwen3-8b", ["Qwen/Qwen3-Reranker-0.6B"], True),
        ("gpt-4o", ["slimrank"], False),
        ("mistral-small", ["qwen3"], False),
        ("SmolLM2-1.7B", ["smollm2-135m-instruct"], True),
    ],
)
def test_a_judge_of_the_ranker_s_family_is_flagged(model: str, rankers: list[str], partial: bool) -> None:
    judge = Judge(kind="chat", url="http://x/v1", model=model)
    assert (agreement.partiality(judge, rankers) is not None) == partial


def test_the_model_that_ranks_is_partial_when_it_judges_too() -> None:
    assert agreement.partiality(Judge(kind="reranker", url="http://x"), ["slimrank"]) is not None
    assert agreement.partiality(Judge(kind="qrels", file=Path("q")), ["slimrank"]) is None


def test_the_first_judge_counts_and_agreement_uses_shared_documents(folder: Folder) -> None:
    human, model = Judge(kind="person"), Judge(kind="reranker", url="http://x")
    judges = [judge.model_dump(mode="json") for judge in (human, model)]
    folder.write_plan({**folder.plan, "spec": {**folder.plan["spec"], "judges": judges}})
    write_grades(grades_file(folder, human), [("q0", "z", 2), ("q1", "a", 0)])
    write_grades(grades_file(folder, model), [("q1", "a", 3), ("q1", "b", 1), ("q2", "c", 2)])
    grades = judgments(folder)
    assert [grades(query_id) for query_id in ("q1", "q2", "q3")] == [{"a": 0, "b": 1}, {"c": 2}, {}]
    assert agreement.tabulate(folder, human, model).tolist() == [[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4]
    for which, state in (("before", {}), ("after", {"ranker": {"model": "slimrank-135m"}})):
        folder.write(f"{which}.json", state)
    folder.write(identity_file(folder, model), {"model": "slimrank-135m", "model_sha256": "w"})
    described = agreement.describe(folder)["judges"]
    assert [judge["grades"] for judge in described] == [2, 3]
    assert [judge["identity"].get("model_sha256") for judge in described] == [None, "w"]
    assert described[1]["partial"]


def test_unchanged_queries_count_as_no_difference_only_if_all_changes_are_judged() -> None:
    same = compare_query(Query("s", "x", 1, 1, "all"), answer("a"), answer("a"), {}, SPEC)
    judged = compare_query(Query("j", "x", 1, 1, "all"), answer("a"), answer("b"), {"a": 1}, SPEC)
    unjudged = compare_query(Query("u", "x", 1, 1, "all"), answer("a"), answer("b"), {}, SPEC)
    with tallied([same, judged]) as tally:
        assert [block.differences[0].tolist() for block in tally.blocks()] == [[0.0, -1.0]]
    with tallied([same, judged, unjudged]) as tally:
        assert [block.differences[0].tolist() for block in tally.blocks()] == [[-1.0]]
        assert tally.counts["unjudged_changed"] == 1


def test_an_audit_can_be_judged_again_without_new_searches(tmp_path: Path) -> None:
    more = parse_spec({**PLAN, "judges": [{"kind": "person", "file": "graded.csv"}], "rules": []}, "test")
    deeper = parse_spec({**PLAN, "depth": 60}, "test")
    assert more.identity() == SPEC.identity()
    assert deeper.identity() != SPEC.identity()
