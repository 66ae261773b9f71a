"""The demo's comparison: the first stage's hits, reordered, timed and measured."""

import json
from pathlib import Path

import pytest

from deploy.demo.cli import _verdict, as_json, compare
from slimrank.beir import Collection, Document
from slimrank.bm25 import BM25
from slimrank.errors import DataError
from slimrank.manifest import Fusion
from slimrank.serving.reranker import Reranker
from tests.doubles import FakeScorer

DOCUMENTS = {
    "shutil.copy": Document("shutil.copy", "shutil.copy(src, dst)", "Copy copy copy data."),
    "shutil.copytree": Document("shutil.copytree", "shutil.copytree(src, dst)", "Recursively copy a directory tree."),
}
COLLECTION = Collection("python", DOCUMENTS, {"q1": "copy a directory tree"}, {"q1": {"shutil.copytree": 2}})
INDEX = BM25({doc_id: document.content for doc_id, document in DOCUMENTS.items()})


def test_the_reranked_list_holds_the_first_stages_hits_with_their_measure() -> None:
    comparison = compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy a directory tree", 10)
    assert sorted(comparison.reranked) == sorted(comparison.first_stage)
    assert comparison.reranked[0] == "shutil.copytree"
    assert json.loads(json.dumps(as_json(comparison)))["nDCG@10"]["after"] == 1.0


def test_the_first_stages_order_is_a_prior() -> None:
    reranker = Reranker(FakeScorer(), fusion=Fusion(weight=1e6, first_stage="bm25"))
    comparison = compare(COLLECTION, INDEX, reranker, "copy a directory tree", 10)
    assert list(comparison.reranked) == list(comparison.first_stage)


def test_the_questions_shown_are_measured_and_the_command_for_all_is_named() -> None:
    judged, own = (compare(COLLECTION, INDEX, Reranker(FakeScorer()), text, 10) for text in ("copy a directory tree", "copy"))
    said = _verdict([judged, own], COLLECTION, Path("home/demo"), 10)
    assert "the 1 judged here" in said
    assert "-> 1.00" in said
    assert "slimrank evaluate --data home/demo --depth 10" in said
    assert _verdict([own], COLLECTION, Path("home/demo"), 10).startswith("All 1 judged questions")


def test_a_question_of_ones_own_has_no_measure() -> None:
    assert compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy data", 10).ndcg_at_10() is None


def test_a_question_that_finds_nothing_is_said() -> None:
    with pytest.raises(DataError, match="ask with other words"):
        compare(COLLECTION, INDEX, Reranker(FakeScorer()), "zebra", 10)
