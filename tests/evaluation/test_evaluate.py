"""Evaluation: before is the first stage, after is the scorer's order of the same hits, and kept scores are believed only where they fit."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slimrank.errors import DataError
from slimrank.evaluation import trec
from slimrank.evaluation.beir import Collection, Document, read_collection, write_documents, write_qrels, write_queries
from slimrank.evaluation.evaluate import ScoreFile, calibration_error, evaluate, mean_gain, paired_gain, sample_queries, window
from slimrank.evaluation.splits import shared_with_train
from slimrank.types import Scored

DOCUMENTS = {
    "d1": Document("d1", "", "fork fork fork"),
    "d2": Document("d2", "", "a fork with four tines"),
    "d3": Document("d3", "", "a spoon"),
}
COLLECTION = Collection("cutlery", DOCUMENTS, {"q1": "fork"}, {"q1": {"d2": 1}})


class CountingScorer:
    """Scores a document by its number of characters, and counts its calls."""

    calls = 0

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.calls += 1
        lengths = np.array([len(document) for document in documents], dtype=np.float32)
        return Scored(lengths, np.zeros(len(documents), dtype=np.bool_), False, 0)


def test_only_the_order_of_first_stage_hits_changes() -> None:
    result = evaluate(COLLECTION, CountingScorer(), depth=10)
    assert list(result.first_stage["q1"]) == ["d1", "d2"]
    assert result.pairs == 2
    assert (result.before["RR@10"], result.after.measures["RR@10"]) == (0.5, 1.0)
    assert result.after.gains["RR@10"].mean == 0.5
    assert result.after.run == result.scores_only.run


def test_after_is_with_the_first_stages_order_and_the_scores_alone_are_measured_beside_it() -> None:
    result = evaluate(COLLECTION, CountingScorer(), depth=10, fusion_weight=1000.0)
    assert result.after.measures == result.before
    assert result.scores_only.gains["RR@10"].mean == 0.5
    assert list(result.after.run["q1"]) == ["d1", "d2"]


def test_hits_of_a_run_are_reranked_in_place_of_bm25s(tmp_path: Path) -> None:
    trec.write_run(tmp_path / "hybrid.trec", {"q1": {"d3": 3.0, "d2": 2.0, "d1": 1.0}}, tag="hybrid")
    result = evaluate(COLLECTION, CountingScorer(), depth=2, hits=tmp_path / "hybrid.trec")
    assert list(result.first_stage["q1"]) == ["d3", "d2"]
    assert result.after.gains["RR@10"].mean == 0.5
    trec.write_run(tmp_path / "hybrid.trec", {"q9": {"d3": 3.0}}, tag="hybrid")
    with pytest.raises(DataError, match="lacks 1 of 1 queries, the first is 'q1'"):
        evaluate(COLLECTION, CountingScorer(), depth=2, hits=tmp_path / "hybrid.trec")


def test_a_query_that_the_train_split_asks_too_is_left_out(tmp_path: Path) -> None:
    queries = {"q1": "fork", "q2": "a spoon", "t1": " Fork "}
    write_queries(tmp_path, queries)
    write_documents(tmp_path, DOCUMENTS.values())
    write_qrels(tmp_path, "train", {"t1": {"d2": 1, "d3": 0}})
    write_qrels(tmp_path, "test", {"q1": {"d2": 1}, "q2": {"d3": 1}})
    shared = shared_with_train(tmp_path, "test")
    assert (shared.query_ids, shared.documents) == ({"q1"}, 2)
    assert shared_with_train(tmp_path, "train").query_ids == frozenset()

    result = evaluate(read_collection(tmp_path, "test"), CountingScorer(), depth=10, shared=shared)
    assert (result.queries, result.left_out, list(result.first_stage)) == (1, 1, ["q2"])
    with pytest.raises(DataError, match="all 1 queries of cutlery also stand in its train split"):
        evaluate(COLLECTION, CountingScorer(), depth=10, shared=shared)


def test_kept_scores_are_not_made_again(tmp_path: Path) -> None:
    scorer, path = CountingScorer(), tmp_path / "scores.jsonl"
    first = evaluate(COLLECTION, scorer, depth=10, kept=ScoreFile(path, {"model": "m"}))
    again = evaluate(COLLECTION, scorer, depth=10, kept=ScoreFile(path, {"model": "m"}))
    assert scorer.calls == 1
    assert first.after.measures == again.after.measures


def test_a_score_line_cut_short_is_made_again(tmp_path: Path) -> None:
    scorer, path = CountingScorer(), tmp_path / "scores.jsonl"
    evaluate(COLLECTION, scorer, depth=10, kept=ScoreFile(path, {"model": "m"}))
    path.write_text(path.read_text()[:-9])
    evaluate(COLLECTION, scorer, depth=10, kept=ScoreFile(path, {"model": "m"}))
    assert scorer.calls == 2


def test_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    ScoreFile(tmp_path / "scores.jsonl", {"model": "m"})
    with pytest.raises(DataError, match="name another file"):
        ScoreFile(tmp_path / "scores.jsonl", {"model": "other"})


@pytest.mark.parametrize("content", ["my notes\n", "my notes", "[]\n"])
def test_a_file_that_holds_no_scores_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.jsonl").write_text(content)
    with pytest.raises(DataError, match="is no file of scores"):
        ScoreFile(tmp_path / "scores.jsonl", {"model": "m"})
    assert (tmp_path / "scores.jsonl").read_text() == content


def test_a_file_of_scores_cut_in_its_first_line_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "scores.jsonl").write_text('{"key": {"mod')
    ScoreFile(tmp_path / "scores.jsonl", {"model": "m"})
    assert (tmp_path / "scores.jsonl").read_text() == '{"key": {"model": "m"}}\n'


def test_two_processes_do_not_keep_scores_in_one_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slimrank.evaluation.evaluate import ScoreFile\n"
        "kept = ScoreFile(Path(sys.argv[1]), {'model': 'm'}); print('in', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "scores.jsonl"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(DataError, match="another process keeps scores"):
            ScoreFile(path, {"model": "m"})
        other.kill()
    ScoreFile(path, {"model": "m"}).add("q", {"d": 1.0})
    assert len(path.read_text().splitlines()) == 2


def test_a_disk_without_room_loses_no_score_that_was_kept(tmp_path: Path) -> None:
    """The limit of the process's file size stands for a full disk: the system refuses both alike."""
    code = (
        "import resource, sys; from pathlib import Path; from slimrank.evaluation.evaluate import ScoreFile\n"
        "kept = ScoreFile(Path(sys.argv[1]), {'model': 'm'}); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "for place in range(1000): kept.add(f'q{place}', {'d': 1.0})"
    )
    path = tmp_path / "scores.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert f"File too large: '{path}'" in done.stderr.splitlines()[-1]
    assert len(ScoreFile(path, {"model": "m"}).scores) == path.read_text().count("query_id") > 50


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    collection = Collection("c", {}, {f"q{n}": "" for n in range(50)}, {})
    assert sample_queries(collection, 10, 7) == sample_queries(collection, 10, 7)
    assert sample_queries(collection, 10, 7) != sample_queries(collection, 10, 8)
    assert len(sample_queries(collection, None, 7)) == 50


def test_a_window_leaves_what_lies_below_it_in_first_stage_order() -> None:
    before = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
    after = {"q": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}}
    assert list(window(before, after, 2)["q"]) == ["b", "a", "c", "d"]


def test_the_gains_interval_lies_around_its_mean_and_is_a_point_for_equal_differences() -> None:
    same = paired_gain({"a": 0.1, "b": 0.2}, {"a": 0.3, "b": 0.4})
    assert (same.low, same.mean, same.high) == pytest.approx((0.2, 0.2, 0.2))
    mixed = paired_gain(dict.fromkeys("abcdef", 0.5), dict(zip("abcdef", [0.1, 0.9, 0.6, 0.5, 0.7, 0.4], strict=True)))
    assert mixed.low < mixed.mean < mixed.high


def test_the_mean_gain_weighs_sets_alike_whatever_their_size() -> None:
    gain = mean_gain([np.array([0.2, 0.2, 0.2, 0.2]), np.array([0.0])])
    assert (gain.low, gain.mean, gain.high) == pytest.approx((0.1, 0.1, 0.1))


def test_calibration_error_is_the_gap_between_probability_and_share() -> None:
    run, qrels = {"q": {"a": 0.75, "b": 0.75, "c": 0.75, "d": 0.75, "unjudged": 0.1}}, {"q": {"a": 1, "b": 1, "c": 0, "d": 0}}
    assert calibration_error(run, qrels, lambda scores: scores) == pytest.approx(0.25)
