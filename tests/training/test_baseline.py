"""The rows of an embedding model on the frontier: stored and computed vectors, hybrid search, and times; nothing is measured twice."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimrank.evaluation import trec
from slimrank.evaluation.frontier import FIRST_STAGE, Setting
from slimrank.evaluation.frontier_cells import draw, first_stage_figures, keep_quality, report
from tests.bench.test_cells import collection
from tests.command import slimrank
from tests.vocabularies import small_tokenizer


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder whose vectors are the mean of one random vector for each token."""
    folder = tmp_path_factory.mktemp("minilm")
    tokenizer = small_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8)).astype(np.float32)
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "L"])
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["B", "L", 8])
    gather = helper.make_node("Gather", ["table", "input_ids"], ["hidden"])
    graph = helper.make_graph([gather], "embedder", [ids], [hidden], [numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "minilm.onnx")
    return folder


def measure(folder: Path, embedder: Path, *more: object) -> None:
    fixed = ["--teacher", embedder, "--name", "tiny", "--hits", 5, "--hits", 12, "--cuts", 4, "--seed", 0, "--threads", 1]
    done = slimrank("train", "baseline", folder, *fixed, *more)
    assert done.code == 0, done.err


def test_its_rows_are_shown_with_the_first_stages_but_not_offered_as_a_choice(embedder: Path, tmp_path: Path) -> None:
    data, out = collection(tmp_path / "shop"), tmp_path / "out"
    drawn = draw(data, "test", queries=50, seed=0, hits=12)
    trec.write_run(tmp_path / "runs" / "shop.test.trec", {query_id: {"d0": 1.0} for query_id in drawn.run}, tag="hybrid")
    measure(out, embedder, "--data", data, "--runs", tmp_path / "runs", "--rounds", 2)
    keep_quality(out, drawn, FIRST_STAGE, "", [first_stage_figures(drawn, FIRST_STAGE, drawn.run)])
    rows = {row.setting: row for row in report(out).rows}
    stored = {hits: rows[Setting("tiny, stored vectors", hits, is_served=False)] for hits in (5, 12)}
    fresh = {hits: rows[Setting("tiny, computed fresh", hits, 4, is_served=False)] for hits in (5, 12)}
    hybrid = rows[Setting("hybrid", is_served=False)]
    assert len(rows) == 6 and hybrid.alone == pytest.approx(1 / 3), "d0 is relevant to one query of three"
    assert all(row.quality is not None and row.p50_ms for row in [*stored.values(), *fresh.values(), hybrid])
    assert not any(row.setting.is_served for row in rows.values())
    before = {file: file.read_bytes() for file in out.rglob("*.json")}
    measure(out, embedder, "--data", data, "--rounds", 2)
    assert {file: file.read_bytes() for file in out.rglob("*.json")} == before


def test_stored_vectors_are_of_whole_documents_and_computed_vectors_of_the_cut(embedder: Path, tmp_path: Path) -> None:
    data, out = collection(tmp_path / "shop"), tmp_path / "out"
    measure(out, embedder, "--data", data, "--without-times")
    record = json.loads((out / "quality" / "shop.test" / "tiny.json").read_text())
    found = {(each["setting"]["tokens"], each["setting"]["hits"]): each["alone"] for each in record["settings"]}
    assert found[0, 12] != found[4, 12]
    assert not (out / "times").exists()
