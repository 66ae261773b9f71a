"""The whole line on real parts: OpenSearch -> client -> gateway -> Redis -> worker -> 135M model -> reordered hits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from opensearchpy import OpenSearch

from connector.client import rerank_search
from slimrank import settings, store
from tests.serving.process import gateway, worker

if TYPE_CHECKING:
    from tests.nodes.engine import Engine

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.redis]

INDEX = "end-to-end"
DOCUMENTS = {
    "moon": "Titan is the largest moon of Saturn and has lakes of methane.",
    "bread": "To bake rye bread, mix flour, water and sourdough, and let the dough rise overnight.",
    "bakery": "The bakery on the corner sells bread, bread rolls and more bread; bread is cheap there.",
    "flour": "Flour prices rose; bread makers complain about the price of flour for bread.",
}
QUERY = "how do I make bread at home"


@pytest.fixture(scope="module")
def gateway_url(redis_url: str) -> Iterator[str]:
    """Yield the URL of a gateway with one worker of the default model."""
    model = store.model_folder(settings.load())
    with worker(fake=False, redis_url=redis_url, model=model), gateway(fake=False, redis_url=redis_url) as url:
        yield url


def test_one_query_comes_back_reordered(opensearch: "Engine", gateway_url: str) -> None:
    with OpenSearch(opensearch.url) as client:
        for name, text in DOCUMENTS.items():
            client.index(index=INDEX, id=name, body={"text": text}, refresh=True)
        body = {"query": {"match": {"text": QUERY}}, "size": 10}
        first = client.search(index=INDEX, body=body)
        reranked = rerank_search(client, INDEX, body, scorer=gateway_url, on_failure="raise")
    before = [hit["_id"] for hit in first["hits"]["hits"]]
    after = [hit["_id"] for hit in reranked["hits"]["hits"]]
    scores = [hit["_score"] for hit in reranked["hits"]["hits"]]
    assert sorted(after) == sorted(before)
    assert scores == sorted(scores, reverse=True)
    assert after != before
    assert reranked["slimrank"]["reranked"] is True
