"""The frontier's command on tiny models: every pair scored once, cascades as served, times kept, and refusals in a line."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from slimrank.engine.cascade import CascadeScorer
from slimrank.evaluation import frontier
from slimrank.evaluation.frontier import FIRST_STAGE, Setting
from slimrank.evaluation.frontier_cells import draw, figures
from slimrank.trials.cuts import WINDOWS
from slimrank.trials.kept_scores import KeptScores
from slimrank.trials.quality import Contender, Grid, scores_of
from slimrank.trials.times import measure_times
from slimrank.types import Scored
from tests.bench.test_cells import collection
from tests.command import Ended, slimrank
from tests.doubles import FakeScorer

GRID = ["--cuts", "4,8", "--windows", "head,best", "--hits", "5,12", "--seed", "0", "--threads", "1"]


class CountingScorer:
    """Counts the pairs that it is asked for."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []

    def score(self, query: str, documents: Any, *, instruction: str | None = None) -> Scored:
        """Score by the words in common."""
        self.pairs += [(query, document) for document in documents]
        return FakeScorer().score(query, documents, instruction=instruction)


def test_a_text_is_scored_once_for_a_query_whatever_cut_it_came_from_also_after_a_stop(tmp_path: Path) -> None:
    scorer, file = CountingScorer(), tmp_path / "a.jsonl"
    kept = KeptScores(file, {"model.onnx": "hash"})
    first = kept.of("q1", "red", ["red apple", "pear", "red apple"], scorer)
    assert first[0] == first[2] and len(scorer.pairs) == 2
    assert kept.of("q1", "red", ["pear", "plum"], scorer)[0] == first[1]
    del kept
    again = KeptScores(file, {"model.onnx": "hash"})
    assert again.of("q1", "red", ["red apple", "pear", "plum"], scorer)[:2] == first[:2]
    assert len(scorer.pairs) == 3
    again.of("q1", "another query of this id", ["pear"], scorer)
    assert len(scorer.pairs) == 4


@pytest.fixture(scope="module")
def measured(tiny_model: Path, other_tiny_model: Path, tiny_pair_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two models of ours, a cascade of them and a cross-encoder were measured on two sets."""
    place = tmp_path_factory.mktemp("frontier")
    models = ["--model", tiny_model, "--model", other_tiny_model, "--cascade", "tiny-qwen2:tiny-llama", "--keep", 5]
    sets = ["--data", collection(place / "a"), "--data", collection(place / "b")]
    done = slimrank("frontier", place / "out", *sets, *models, *GRID, "--without-times")
    assert done.code == 0, done.err
    timed = slimrank("frontier", place / "out", "--model", tiny_model, "--model", tiny_pair_model, *GRID, "--rounds", 2)
    assert timed.code == 0, timed.err
    return place


def test_every_setting_has_a_row_and_what_was_not_measured_is_left_open(measured: Path) -> None:
    out = measured / "report.json"
    done = slimrank("frontier", measured / "out", "--without-times", "--json", "--out", out, "--plot", measured / "plot.svg")
    assert done.code == 0, done.err
    assert out.read_text() == done.out
    rows = {row.setting: row for row in frontier.read(out).rows}
    ours = [
        Setting(name, hits, cut, window)
        for name in ("tiny-llama", "tiny-qwen2", "tiny-bert")
        for hits, cut, window in itertools.product((5, 12), (4, 8), WINDOWS)
    ]
    cascades = [Setting("tiny-llama", 12, cut, window, "tiny-qwen2", 5) for cut, window in itertools.product((4, 8), WINDOWS)]
    assert set(rows) == {Setting(FIRST_STAGE, is_served=False), *ours, *cascades}
    for setting, row in rows.items():
        assert (row.quality is not None) == (setting.model != "tiny-bert"), "it was only timed"
        assert (row.p50_ms is None) == ("tiny-qwen2" in (setting.model, setting.first)), "it was not timed"
    assert (measured / "plot.svg").stat().st_size > 1000
    table = slimrank("frontier", measured / "out", "--without-times").out
    assert "tiny-qwen2 keeps 5, then tiny-llama" in table and "300 ms" in table


def test_a_second_run_measures_nothing(measured: Path, tiny_model: Path, other_tiny_model: Path) -> None:
    before = {file: file.read_bytes() for file in (measured / "out").rglob("*.json*")}
    models = ["--model", tiny_model, "--model", other_tiny_model, "--cascade", "tiny-qwen2:tiny-llama", "--keep", 5]
    done = slimrank("frontier", measured / "out", "--data", measured / "a", *models, *GRID, "--without-times")
    assert done.code == 0, done.err
    assert {file: file.read_bytes() for file in (measured / "out").rglob("*.json*")} == before


def test_a_cascade_gives_what_serving_gives(measured: Path, tiny_model: Path, other_tiny_model: Path) -> None:
    drawn = draw(measured / "a", "test", queries=50, seed=0, hits=12)
    first, full = (Contender(each, threads=1) for each in (other_tiny_model, tiny_model))
    served = CascadeScorer(
        first.reranker.scorer_for("truncate", "head", 8), full.reranker.scorer_for("truncate", "head", 8), keep=5
    )
    record = json.loads((measured / "out" / "quality" / "a.test" / "tiny-qwen2+tiny-llama.json").read_text())
    kept = [
        each for each in record["settings"] if Setting(**each["setting"]) == Setting("tiny-llama", 12, 8, "head", "tiny-qwen2", 5)
    ]
    scores = {}
    for query_id, found in drawn.run.items():
        if found:
            texts = [drawn.collection.documents[doc_id].content for doc_id in found]
            scores[query_id] = dict(
                zip(found, served.score(drawn.collection.queries[query_id], texts).scores.tolist(), strict=True)
            )
    assert kept[0]["alone"] == pytest.approx(figures(drawn, Setting("tiny-llama", 12), scores, 0.0).alone)


def test_scores_are_those_of_evaluate(measured: Path, tiny_model: Path) -> None:
    drawn, contender = draw(measured / "a", "test", queries=50, seed=0, hits=12), Contender(tiny_model, threads=1)
    found = scores_of(measured / "out", drawn, contender, 8, "head", 12)
    [query_id] = [each for each, hits in drawn.run.items() if hits][:1]
    texts = [drawn.collection.documents[doc_id].content for doc_id in drawn.run[query_id]]
    ours = contender.reranker.scorer_for("truncate", "head", 8).score(drawn.collection.queries[query_id], texts).scores
    assert list(found[query_id].values()) == pytest.approx(ours.tolist(), abs=1e-4)


def test_times_go_on_where_they_were_and_are_made_anew_for_another_number_of_threads(tiny_model: Path, tmp_path: Path) -> None:
    contender, grid = Contender(tiny_model, threads=1), Grid([4], ["head"], [1, 2])

    def kept(rounds: int, threads: int) -> list[list[float]]:
        measure_times(tmp_path, [contender], grid, rounds=rounds, threads=threads, seed=0, home=tmp_path)
        return [each["ms"] for each in json.loads((tmp_path / "times" / "tiny-llama.json").read_text())["settings"]]

    first = kept(1, 1)
    assert [len(each) for each in first] == [1, 1] and min(map(min, first)) > 0
    more = kept(3, 1)
    assert [each[:1] for each in more] == first and [len(each) for each in more] == [3, 3]
    assert [len(each) for each in kept(1, 2)] == [1, 1]


def refused(*arguments: object) -> str:
    done: Ended = slimrank("frontier", *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    return done.err


def test_a_collection_that_cannot_be_measured_is_refused_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    assert "holds nothing yet" in refused(tmp_path / "out", "--without-times")
    assert "two of the models are called 'tiny-llama'" in refused(tmp_path / "out", "--model", tiny_model, "--model", tiny_model)
    assert "--cascade is FIRST:FULL" in refused(tmp_path / "out", "--model", tiny_model, "--cascade", "tiny-llama:other")
    assert "--cuts is whole numbers" in refused(tmp_path / "out", "--cuts", "48,none")
    assert "--windows is head, best" in refused(tmp_path / "out", "--windows", "tail")
