"""The measure of texts written to win, with scorers whose answers are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from slimrank.__main__ import app
from slimrank.hostile import ATTACKS, PASTING
from slimrank.serving.bench_hostile import measure_hostile, read_cases
from slimrank.types import Scored
from tests.doubles import FakeScorer


class Oracle:
    """Knows the relevant documents by heart."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        right = {case.relevant for case in read_cases()}
        scores = np.array([5.0 if document in right else -5.0 for document in documents], dtype=np.float32)
        return Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, 0)


def test_twenty_cases_differ_in_every_part() -> None:
    cases = read_cases()
    assert len(cases) == 20
    for part in ("query", "relevant", "irrelevant"):
        assert len({getattr(case, part) for case in cases}) == 20


def test_who_counts_words_is_beaten_by_every_pasting_and_less_often_without() -> None:
    beaten = measure_hostile(FakeScorer())["beaten"]
    assert {beaten[attack.__name__] for attack in PASTING} == {20}
    assert beaten["as_it_is"] < 12


def test_the_command_measures_a_model_folder(tiny_model: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "--hostile", "--model", str(tiny_model), "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert set(report["beaten"]) == {"as_it_is", *ATTACKS}
    assert report["cases"] == 20


def test_who_knows_what_is_relevant_is_never_beaten() -> None:
    report = measure_hostile(Oracle())
    assert report["beaten"] == dict.fromkeys(("as_it_is", *ATTACKS), 0)
    assert report["mean_probability"]["query_once"] == 0.007
