"""``slimrank bench hostile`` with scorers whose answers are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from slimrank.__main__ import app
from slimrank.bench.hostile import cases_of, measure_hostile, read_cases
from slimrank.errors import DataError
from slimrank.evaluation.beir import Document, write_documents, write_qrels, write_queries
from slimrank.evaluation.hostile_texts import ATTACKS, PASTING
from slimrank.types import Scored
from tests.doubles import FakeScorer


class Oracle:
    """A scorer that knows the relevant documents."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        right = {case.relevant for case in read_cases()}
        scores = np.array([5.0 if document in right else -5.0 for document in documents], dtype=np.float32)
        return Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, 0)


def test_twenty_cases_differ_in_every_part() -> None:
    cases = read_cases()
    assert len(cases) == 20
    for part in ("query", "relevant", "irrelevant"):
        assert len({getattr(case, part) for case in cases}) == 20


def test_a_scorer_that_counts_words_is_beaten_by_every_pasted_query() -> None:
    beaten = measure_hostile(FakeScorer())["beaten"]
    assert {beaten[attack.__name__] for attack in PASTING} == {20}
    assert beaten["as_it_is"] < 12


def test_the_command_measures_a_model_folder(tiny_model: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "hostile", "--model", str(tiny_model), "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert set(report["beaten"]) == {"as_it_is", *ATTACKS}
    assert report["cases"] == 20


def test_a_scorer_that_knows_the_relevant_documents_is_never_beaten() -> None:
    report = measure_hostile(Oracle())
    assert report["beaten"] == dict.fromkeys(("as_it_is", *ATTACKS), 0)
    assert report["mean_probability"]["query_once"] == 0.007


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    write_documents(tmp_path, [Document(f"d{place}", "", f"text {place}") for place in range(4)])
    write_queries(tmp_path, {"q1": "one", "q2": "two", "q3": "three"})
    write_qrels(tmp_path, "test", {"q1": {"d0": 1, "d1": 2}, "q2": {"d2": 1, "d3": 0}, "q3": {"d3": 0}})
    return tmp_path


def test_a_judged_collection_gives_a_case_for_each_query_with_a_relevant_document(collection: Path) -> None:
    cases = cases_of(collection, split="test", queries=9, seed=1)
    assert [(case.query, case.relevant) for case in cases] == [("one", "text 1"), ("two", "text 2")]
    assert cases[0].irrelevant in ("text 2", "text 3") and cases[1].irrelevant != "text 2"
    assert len(cases_of(collection, split="test", queries=1, seed=1)) == 1
    assert measure_hostile(Oracle(), cases)["cases"] == 2


def test_a_collection_whose_queries_every_document_answers_is_refused(collection: Path) -> None:
    write_qrels(collection, "test", {"q1": {f"d{place}": 1 for place in range(4)}})
    with pytest.raises(DataError, match="no hostile cases"):
        cases_of(collection, split="test", queries=9, seed=1)


def test_the_command_measures_the_sampled_queries_of_a_split(tiny_model: Path, collection: Path) -> None:
    write_qrels(collection, "dev", {"q1": {"d0": 1}, "q2": {"d2": 1}})
    given = ["--model", str(tiny_model), "--threads", "1", "--data", str(collection), "--split", "dev", "--json"]
    every, one = (CliRunner().invoke(app, ["bench", "hostile", *given, *more]) for more in ([], ["--queries", "1"]))
    assert [json.loads(done.stdout)["cases"] for done in (every, one)] == [2, 1]
