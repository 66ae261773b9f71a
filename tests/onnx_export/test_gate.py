"""The gate of a precision: the order of real documents, and nDCG."""

import json
from pathlib import Path

import numpy as np
import pytest

from onnx_export.gate import Judged, agreement, judged_pairs, ndcg_at_10, scores_of
from onnx_export.runner import GraphRunner
from slimrank import manifest as manifests


def test_the_gate_checks_order_and_ndcg() -> None:
    pairs = [Judged([], [[1], [2], [3]], [0, 2, 0]), Judged([], [[1], [2], [3]], [0, 0, 0])]
    right, wrong = np.array([1, 3, 2], dtype=np.float32), np.array([3, 1, 2], dtype=np.float32)
    assert agreement(pairs, [right * 2, right], [right, right]).passed
    swapped = agreement(pairs, [wrong, right], [right, right])
    assert (swapped.reference_ndcg_at_10, swapped.ndcg_at_10) == (1.0, pytest.approx(0.5))
    assert not swapped.passed
    assert not agreement(pairs, [right, -right], [right, right]).passed, "no judgments, but another order"


def test_the_pairs_of_the_gate_can_come_from_a_collection(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(["red apples", "green pears", "red wine"])]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "red wine"}) + "\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td2\t1\n")
    (query,) = judged_pairs(tiny_model, [tmp_path])
    assert query.relevance == [1, 0]
    scores = scores_of(GraphRunner(tiny_model, manifests.read(tiny_model)), [query])
    assert scores[0].shape == (2,)
    assert ndcg_at_10([query], [np.array([0, 1], dtype=np.float32)]) == pytest.approx(0.631, abs=1e-3)
