"""Measuring adapters: samples, fusion, calibration, and the check that no measured query was trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slimrank.errors import DataError
from slimrank.evaluation import trec
from slimrank.evaluation.beir import Collection, Document, write_documents, write_qrels, write_queries
from slimrank.evaluation.evaluate import ScoreFile
from slimrank.types import Scored
from tests.command import slimrank
from tests.training.conftest import make_groups
from training.evaluate import (
    Sample,
    compare,
    fit_calibration,
    fit_values,
    kept_scores,
    mean_gain,
    refuse_seen,
    sample,
    score,
    torch_scorer,
    write_values,
)


def drawn(name: str = "set") -> tuple[Sample, dict[str, dict[str, float]]]:
    """Return ten queries whose second hit is relevant, and scores that rank it first."""
    first = {f"q{n}": {f"a{n}": 2.0, f"b{n}": 1.0} for n in range(10)}
    qrels = {f"q{n}": {f"b{n}": 1} for n in range(10)}
    documents = {doc_id: Document(doc_id, "", doc_id) for hits in first.values() for doc_id in hits}
    collection = Collection(name, documents, {query_id: query_id for query_id in first}, qrels)
    return Sample(collection, "test", qrels, first), {q: {f"a{q[1:]}": -1.0, f"b{q[1:]}": 1.0} for q in first}


def test_the_gain_of_reordering_is_measured_with_its_interval() -> None:
    row = compare(*drawn())
    assert (row.queries, row.after) == (10, 1.0)
    assert row.before == pytest.approx(1 / np.log2(3))
    assert row.gain.low == pytest.approx(row.gain.high) == pytest.approx(1 - row.before)
    assert compare(*drawn(), fusion_weight=9.0).gain.mean == 0


def test_each_collection_has_the_same_weight_in_the_mean_gain() -> None:
    better, same = drawn(), drawn()
    worse = {q: {d: -s for d, s in hits.items()} for q, hits in same[1].items()}
    gain = mean_gain([better, (same[0], worse)])
    assert gain.mean == pytest.approx((1 - 1 / np.log2(3)) / 2)


def test_calibration_finds_scale_and_offset() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    labels = rng.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))
    run = {"q": {str(n): float(s) for n, s in enumerate(scores)}}
    qrels = {"q": {str(n): int(label) for n, label in enumerate(labels)}}
    collection = Collection("set", {}, {"q": "q"}, qrels)
    scale, offset = fit_calibration([(Sample(collection, "dev", qrels, run), run)])
    assert (scale, offset) == (pytest.approx(2, abs=0.2), pytest.approx(-1, abs=0.2))


def test_fitted_values_are_valid_in_a_manifest() -> None:
    values = fit_values([drawn()], first_stage="bm25")
    assert values["fusion"] == {"weight": 0.0, "first_stage": "bm25"}
    assert set(values["calibration"]) == {"scale", "offset"}  # type: ignore[call-overload]


def test_a_query_that_was_trained_on_is_refused() -> None:
    groups = make_groups(3)
    seen, _ = drawn()
    refuse_seen(seen, groups)
    seen.collection.queries["q3"] = f" {groups[0].query.upper()} "  # type: ignore[index]
    with pytest.raises(DataError, match="1 of the 10 queries of set:test were trained on"):
        refuse_seen(seen, groups)


def test_scores_are_computed_once_and_stored(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_documents(folder, [Document(str(n), "", f"a river with {n} bridges") for n in range(6)])
    write_queries(folder, {"q1": "river", "q2": "bridges"})
    write_qrels(folder, "test", {"q1": {"1": 1}, "q2": {"2": 1}})
    taken = sample(folder, "test", queries=1, depth=3, seed=7)
    assert len(taken.first_stage) == 1
    assert all(len(hits) == 3 for hits in taken.first_stage.values())
    torch.manual_seed(0)
    made = score(taken, torch_scorer(base, None), tmp_path / "scores", {"model": "tiny"}, lambda done, total: None)

    class Refuses:
        def score(self, query: str, documents: object, *, instruction: str | None = None) -> Scored:
            raise AssertionError("scored twice")

    assert score(taken, Refuses(), tmp_path / "scores", {"model": "tiny"}, lambda done, total: None) == made  # type: ignore[arg-type]


def keep(folder: Path, run: dict[str, dict[str, float]], depth: int = 2) -> None:
    key = {"model": {"model.onnx": "hash"}, "collection": "set", "split": "test", "depth": depth, "queries": 10, "seed": 7}
    kept = ScoreFile(folder / "set.test.jsonl", key)
    for query_id, hits in run.items():
        kept.add(query_id, hits)


def test_the_fit_reads_scores_of_a_served_model(tmp_path: Path) -> None:
    taken, run = drawn()
    keep(tmp_path, run)
    assert kept_scores(taken, tmp_path, queries=10, depth=2, seed=7) == run


def test_scores_of_another_sample_are_refused(tmp_path: Path) -> None:
    taken, run = drawn()
    with pytest.raises(DataError, match=r"no scores in .*make them with `slimrank evaluate"):
        kept_scores(taken, tmp_path, queries=10, depth=2, seed=7)
    keep(tmp_path, {query_id: hits for query_id, hits in run.items() if query_id != "q3"})
    with pytest.raises(DataError, match="'seed': 8"):
        kept_scores(taken, tmp_path, queries=10, depth=2, seed=8)
    with pytest.raises(DataError, match="lacks the scores of 2 hits"):
        kept_scores(taken, tmp_path, queries=10, depth=2, seed=7)


def test_fitted_values_keep_the_other_values_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "slimrank.json").write_text('{"precision": {"precision": "int8"}, "fusion": {"weight": 9}}')
    write_values(tmp_path, {"fusion": {"weight": 1}})
    assert json.loads((tmp_path / "slimrank.json").read_text()) == {"precision": {"precision": "int8"}, "fusion": {"weight": 1}}


def test_a_fit_on_reversed_scores_is_refused(tmp_path: Path) -> None:
    documents = {f"d{place}": Document(f"d{place}", "", "text") for place in range(40)}
    run = {"q": {f"d{place}": float(place % 10) for place in range(40)}}
    qrels = {"q": {f"d{place}": int((place % 10 < 5) != (place % 7 == 0)) for place in range(40)}}
    collection = Collection("set", documents, {"q": "text"}, qrels)
    with pytest.raises(DataError, match="do not tell relevant from irrelevant"):
        fit_calibration([(Sample(collection, "dev", qrels, run), run)])


def test_a_fit_without_an_adapter_is_refused(tmp_path: Path) -> None:
    done = slimrank(
        "train", "fit", "--adapter", tmp_path / "nothing", "--data", tmp_path, "--set", "set:dev", "--scores", tmp_path
    )
    assert (done.code, "is not an adapter" in done.err, (tmp_path / "nothing").exists()) == (2, True, False), done.err


def test_hits_can_come_from_a_run_of_hybrid_search(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write_documents(folder, [Document(f"d{n}", "", f"red shoe {n}") for n in range(5)])
    write_queries(folder, {"q": "red shoe"})
    write_qrels(folder, "dev", {"q": {"d1": 1}})
    trec.write_run(tmp_path / "shop.dev.trec", {"q": {"d4": 3.0, "d2": 2.0, "d1": 1.0}}, tag="hybrid")
    found = sample(folder, "dev", queries=1, depth=2, seed=7, runs=tmp_path)
    assert list(found.first_stage["q"]) == ["d4", "d2"]
    trec.write_run(tmp_path / "shop.dev.trec", {"other": {"d4": 3.0}}, tag="hybrid")
    with pytest.raises(DataError, match="lacks 1 of 1 queries, the first is 'q'"):
        sample(folder, "dev", queries=1, depth=2, seed=7, runs=tmp_path)


def test_a_missing_adapter_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = slimrank(
        "train",
        "evaluate",
        "--base",
        tmp_path,
        "--adapter",
        "runs/nothing",
        "--data",
        tmp_path,
        "--set",
        "a:dev",
        "--scores",
        tmp_path,
    )
    assert (done.code, "runs/nothing is not an adapter" in done.err) == (2, True), done.err
