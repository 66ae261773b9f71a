"""Client-side reranking with elasticsearch-py on real Elasticsearch nodes, 8.19 and 7.17; it needs no licence."""

import asyncio
from collections.abc import Iterator
from typing import Any

import elasticsearch
import pytest
from elasticsearch.helpers import bulk

from connector.client import rerank_search
from tests.connector.doubles import DownScorer, OverlapScorer, ReverseScorer
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine
INDEX = "slimrank-test-client"
RINGS = {"query": {"match": {"title": "ring"}}}


@pytest.fixture(scope="module", params=["elasticsearch_8", "elasticsearch_7"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[elasticsearch.Elasticsearch]:
    with elasticsearch.Elasticsearch(engine.url) as client:
        client.indices.create(index=INDEX, mappings={"properties": {"reviews": {"type": "nested"}}})
        sources = [
            {"title": "ring " + "and chain " * number, "body": f"filler {number}", "reviews": [{"text": f"{number} stars"}]}
            for number in range(30)
        ]
        bulk(client, ({"_index": INDEX, "_id": str(number), **source} for number, source in enumerate(sources)), refresh=True)
        yield client
        client.indices.delete(index=INDEX)


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_pages_neither_skip_nor_repeat_hits(client: elasticsearch.Elasticsearch) -> None:
    pages = [
        rerank_search(client, INDEX, {**RINGS, "from": start, "size": 15}, scorer=ReverseScorer(), rank_window_size=20)
        for start in (0, 15)
    ]
    assert _ids(pages[0]) + _ids(pages[1]) == [str(number) for number in [*reversed(range(20)), *range(20, 30)]]


def test_a_filtered_source_is_judged_whole_and_returned_filtered(client: elasticsearch.Elasticsearch) -> None:
    scorer = OverlapScorer()
    body = {**RINGS, "_source": ["title"], "size": 1}
    answer = rerank_search(client, INDEX, body, scorer=scorer, fields=["body", "reviews.text"])
    assert scorer.asked[0][1][3] == "filler 3\n3 stars"
    (hit,) = answer["hits"]["hits"]
    assert list(hit["_source"]) == ["title"]
    assert "fields" not in hit


def test_if_the_reranker_is_down_the_answer_is_the_first_stage_with_a_mark(client: elasticsearch.Elasticsearch) -> None:
    answer = rerank_search(client, INDEX, RINGS, scorer=DownScorer())
    assert _ids(answer) == [hit["_id"] for hit in client.search(index=INDEX, body=RINGS)["hits"]["hits"]]
    assert answer["slimrank"]["reranked"] is False


def test_an_async_client_gives_the_same_answer(client: elasticsearch.Elasticsearch, engine: Engine) -> None:
    async def search() -> dict[str, Any]:
        async with elasticsearch.AsyncElasticsearch(engine.url) as asynchronous:
            return await rerank_search(asynchronous, INDEX, RINGS, scorer=ReverseScorer(), rank_window_size=20)

    assert _ids(asyncio.run(search())) == _ids(rerank_search(client, INDEX, RINGS, scorer=ReverseScorer(), rank_window_size=20))


@pytest.mark.parametrize("engine", ["elasticsearch_8"], indirect=True)  # 7.17 has no retrievers
@pytest.mark.usefixtures("client")
def test_a_retriever_body_is_read_and_reranked(engine: Engine) -> None:
    with elasticsearch.Elasticsearch(engine.url) as client:
        body = {"retriever": {"standard": RINGS}}
        answer = rerank_search(client, INDEX, body, scorer=ReverseScorer(), rank_window_size=5)
    assert _ids(answer)[:5] == ["4", "3", "2", "1", "0"]


def test_an_error_of_the_engine_is_the_client_librarys_exception(client: elasticsearch.Elasticsearch) -> None:
    with pytest.raises(elasticsearch.NotFoundError):
        rerank_search(client, "no-such-index", RINGS, scorer=OverlapScorer())
