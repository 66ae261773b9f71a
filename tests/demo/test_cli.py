"""The demo's comparison: the first stage's hits, reordered, timed and measured."""

import json

import pytest

from deploy.demo.cli import as_json, compare
from slimrank.beir import Collection, Document
from slimrank.bm25 import BM25
from slimrank.errors import DataError
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


def test_a_question_of_ones_own_has_no_measure() -> None:
    assert compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy data", 10).ndcg_at_10() is None


def test_a_question_that_finds_nothing_is_said() -> None:
    with pytest.raises(DataError, match="ask with other words"):
        compare(COLLECTION, INDEX, Reranker(FakeScorer()), "zebra", 10)
