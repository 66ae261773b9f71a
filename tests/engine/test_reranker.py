"""The public face: best first, ties in the order given, bad input in words."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimrank import Reranker
from slimrank.errors import InvalidRequest
from slimrank.types import Scored
from tests.tiny import DOCUMENTS


class Lengths:
    """Scores a document by its length."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        lengths = np.array([len(document) for document in documents], dtype=np.float32)
        return Scored(lengths, np.zeros(len(lengths), dtype=np.bool_), False, 0)


def test_documents_come_best_first_and_ties_keep_the_order_given() -> None:
    ranked = Reranker(Lengths()).rank("q", ["aa", "b", "cccc", "dd"])
    assert [hit.index for hit in ranked] == [2, 0, 3, 1]
    assert [hit.score for hit in ranked] == [4, 2, 2, 1]


def test_top_n_shortens_the_answer_only() -> None:
    reranker = Reranker(Lengths())
    assert reranker.rank("q", ["a", "bb", "ccc"], top_n=2) == reranker.rank("q", ["a", "bb", "ccc"])[:2]
    assert len(reranker.rank("q", ["a"], top_n=5)) == 1


def test_nothing_to_rank_is_an_empty_answer() -> None:
    assert Reranker(Lengths()).rank("q", []) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " \n", "documents": ["a"]}, "query is empty"),
        ({"query": 3, "documents": ["a"]}, "query must be a text, found int"),
        ({"query": "q", "documents": "abc"}, "documents must be a list of texts, found str"),
        ({"query": "q", "documents": ["a", None]}, r"documents\[1\] must be a text, found NoneType"),
        ({"query": "q", "documents": ["a"] * 11}, "11 documents are too many: at most 10"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n must be at least 1"),
    ],
)
def test_bad_input_is_refused_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Reranker(Lengths(), max_documents=10).rank(**arguments)


def test_a_folder_loads_and_ranks(tiny_model: Path) -> None:
    ranked = Reranker.load(tiny_model, threads=1).rank("which moon is the largest", DOCUMENTS)
    assert sorted(hit.index for hit in ranked) == list(range(len(DOCUMENTS)))
    assert all(first.score >= second.score for first, second in itertools.pairwise(ranked))
    assert all(0 < hit.probability < 1 for hit in ranked if DOCUMENTS[hit.index].strip())
