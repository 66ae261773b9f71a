"""The first stage's order as a prior, only where the request gives it."""

from pathlib import Path

import numpy as np
import pytest

from slimrank.engine.jobs import Answer
from slimrank.engine.reranker import Reranker
from slimrank.errors import InvalidRequest
from slimrank.identity import ModelIdentity
from slimrank.manifest import Fusion
from slimrank.scoring import only_first
from slimrank.serving.gateway import answers, schemas
from slimrank.serving.queue import messages
from slimrank.types import Scored
from tests.tiny import loaded


class Even:
    """Scores every document alike, but for the last one."""

    def score(self, query: str, documents: list[str], *, instruction: str | None = None) -> Scored:
        scores = np.array([0.0] * (len(documents) - 1) + [0.5], dtype=np.float32)
        return Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, 1)


def answered(weight: float = 1.0, **fields: object) -> list[int]:
    body = {"query": "q", "documents": ["a", "b", "c"], "raw_scores": True, **fields}
    call = schemas.parse(body, max_documents=10)
    answer = Answer(Even().score("q", list(call.job_by_rank().request.documents)), ModelIdentity("m", fusion_weight=weight))
    results = answers.body_of(call, answer, request_id="1")["results"]
    assert [r["relevance_score"] for r in results] == sorted((r["relevance_score"] for r in results), reverse=True)
    return [result["index"] for result in results]


def test_scores_alone_decide_where_the_request_says_nothing_of_the_order() -> None:
    assert answered() == [2, 0, 1]


def test_first_stage_order_is_a_prior() -> None:
    assert answered(first_stage_order=True) == [0, 2, 1]


def test_far_down_the_list_a_rank_more_or_less_hardly_counts() -> None:
    assert answered(first_stage_order=True, first_stage_offset=100) == [2, 0, 1]


def test_ranks_may_be_given_one_by_one() -> None:
    assert answered(first_stage_ranks=[9, 1, 9]) == [1, 2, 0]


def test_documents_are_scored_in_the_order_of_their_ranks_so_that_a_deadline_leaves_out_the_last() -> None:
    body = {"query": "q", "documents": ["a", "b", "c"], "first_stage_ranks": [3, 1, 2], "return_documents": True}
    call = schemas.parse(body, max_documents=10)
    documents = list(call.job_by_rank().request.documents)
    assert documents == ["b", "c", "a"]
    scored = Scored(np.array([1, 2], dtype=np.float32), np.array([False, True]), False, 1)
    answer = Answer(only_first(scored, 3), ModelIdentity("m"), is_partial=True)
    body = answers.body_of(call, answer, request_id="1")
    assert [(hit["index"], hit["document"]["text"]) for hit in body["results"]] == [(2, "c"), (1, "b"), (0, "a")]
    assert body["scores"] == sorted(body["scores"])
    assert body["meta"]["truncated_documents"] == [2]
    left = answers.first_stage_body(call, "timeout", request_id="1")["results"]
    assert [hit["index"] for hit in left] == [1, 2, 0]


def test_a_model_without_a_fitted_weight_goes_by_scores() -> None:
    assert answered(weight=0.0, first_stage_order=True) == [2, 0, 1]


def test_ranks_and_documents_must_be_as_many() -> None:
    with pytest.raises(InvalidRequest, match="2 ranks for 3 documents"):
        answered(first_stage_ranks=[1, 2])


def test_the_weight_travels_over_the_queue_and_its_absence_means_none() -> None:
    answer = Answer(Even().score("q", ["a"]), ModelIdentity("m", fusion_weight=0.7))
    reply = messages.decode_reply(messages.encode_answer("1", answer))
    assert messages.answer_of(reply, documents=len(reply["scores"])).model.fusion_weight == 0.7
    del reply["fusion_weight"]
    assert messages.answer_of(reply, documents=len(reply["scores"])).model.fusion_weight == 0


def test_in_python_the_order_counts_only_if_the_caller_says_so() -> None:
    reranker = Reranker(Even(), fusion=Fusion(weight=1.0, first_stage="bm25"))
    assert [hit.index for hit in reranker.rank("q", ["a", "b", "c"])] == [2, 0, 1]
    assert [hit.index for hit in reranker.rank("q", ["a", "b", "c"], first_stage_order=True)] == [0, 2, 1]


@pytest.mark.parametrize("weight", [0.7, 1.5])
def test_the_weight_that_a_process_is_set_to_replaces_that_of_the_model(tiny_model: Path, weight: float) -> None:
    """A model's weight is fitted for BM25's order; another first stage, such as hybrid search, may deserve another one."""
    assert loaded(tiny_model, fusion_weight=weight).identity.fusion_weight == weight
    fitted = loaded(tiny_model).identity
    assert fitted.fusion_weight != weight
    assert loaded(tiny_model, fusion_weight=weight).identity.hashes() == fitted.hashes(), "it is the same model"
