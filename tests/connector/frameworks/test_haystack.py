"""Haystack's own Jina and Cohere rankers work with our gateway as base URL, so there is no adapter for Haystack."""

import asyncio
from collections.abc import Iterator

import pytest
from haystack import Document, Pipeline
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.jina import JinaRanker

from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS

DOCUMENTS = [Document(id=str(place), content=text) for place, text in enumerate(TEXTS)]
KEY = Secret.from_token("local")


@pytest.fixture(params=["jina", "cohere"])
def ranker(request: pytest.FixtureRequest, gateway: str) -> Iterator[object]:
    if request.param == "jina":
        yield JinaRanker(model="fake", api_key=KEY, base_url=f"{gateway}/v1/rerank")
        return
    ranker = CohereRanker(model="fake", api_key=KEY, api_base_url=gateway)
    ranker.warm_up()
    with ranker._cohere_client:  # type: ignore[union-attr]  # it never closes its connections itself
        yield ranker


def places(found: dict) -> list[int]:
    return [int(document.id) for document in found["documents"]]


def test_the_best_documents_come_first_with_their_probabilities(ranker: JinaRanker) -> None:
    found = ranker.run(query=QUERY, documents=DOCUMENTS)
    assert places(found) == BEST_FIRST
    scores = [document.score for document in found["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_top_k_limits_the_returned_documents(ranker: JinaRanker) -> None:
    assert places(ranker.run(query=QUERY, documents=DOCUMENTS, top_k=2)) == BEST_FIRST[:2]


def test_the_jina_ranker_can_be_awaited(gateway: str) -> None:
    ranker = JinaRanker(model="fake", api_key=KEY, base_url=f"{gateway}/v1/rerank")
    assert places(asyncio.run(ranker.run_async(query=QUERY, documents=DOCUMENTS))) == BEST_FIRST


def test_a_single_document_is_scored(ranker: JinaRanker) -> None:
    (found,) = ranker.run(query=QUERY, documents=DOCUMENTS[4:])["documents"]
    assert 0 < found.score < 1


def test_the_jina_ranker_makes_no_call_without_documents(gateway: str) -> None:
    assert JinaRanker(model="fake", api_key=KEY, base_url=gateway).run(query=QUERY, documents=[]) == {"documents": []}


def test_the_ranker_works_in_a_pipeline(ranker: JinaRanker) -> None:
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    assert places(pipeline.run({"ranker": {"query": QUERY, "documents": DOCUMENTS}})["ranker"]) == BEST_FIRST
