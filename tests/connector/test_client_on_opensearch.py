"""Client-side reranking with opensearch-py on a real OpenSearch."""

import asyncio
from collections.abc import Iterator
from typing import Any

import opensearchpy
import pytest
from opensearchpy.helpers import bulk

from connector.client import rerank_search
from tests.connector.doubles import DownScorer, OverlapScorer, ReverseScorer
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine
INDEX = "slimrank-test-client"
RINGS = {"query": {"match": {"title": "ring"}}}


@pytest.fixture(scope="module")
def client(opensearch: Engine) -> Iterator[opensearchpy.OpenSearch]:
    with opensearchpy.OpenSearch(opensearch.url) as client:
        properties = {"title": {"type": "text"}, "reviews": {"type": "nested", "properties": {"text": {"type": "text"}}}}
        client.indices.create(index=INDEX, body={"mappings": {"properties": properties}})
        bulk(client, [_document(number) for number in range(40)], index=INDEX, refresh=True)
        yield client
        client.indices.delete(index=INDEX)


def _document(number: int) -> dict[str, Any]:
    # a longer title has a lower first-stage rank
    title = "ring " + "and chain " * number
    body = f"filler {number}. " * 200 + ("the gold ring of Ada" if number == 33 else "")
    return {"_id": str(number), "title": title, "body": body, "price": number, "reviews": [{"text": f"rated {number} stars"}]}


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_a_hit_with_a_low_first_stage_rank_can_become_the_first(client: opensearchpy.OpenSearch) -> None:
    answer = rerank_search(client, INDEX, RINGS, scorer=OverlapScorer(), query="gold ada", fields=["body"], rank_window_size=40)
    best = answer["hits"]["hits"][0]
    assert (best["_id"], best["_first_stage_rank"]) == ("33", 34)
    assert 0 < best["_first_stage_score"] < 1
    assert len(answer["hits"]["hits"]) == 10


def test_pages_neither_skip_nor_repeat_hits(client: opensearchpy.OpenSearch) -> None:
    pages = [
        rerank_search(client, INDEX, {**RINGS, "from": start, "size": 15}, scorer=ReverseScorer(), rank_window_size=20)
        for start in (0, 15, 30)
    ]
    found = [identifier for page in pages for identifier in _ids(page)]
    assert found == [str(number) for number in [*reversed(range(20)), *range(20, 40)]]


@pytest.mark.parametrize("source", [False, ["price"], {"excludes": ["body"]}, "price"])
def test_a_filtered_source_is_judged_whole_and_returned_filtered(client: opensearchpy.OpenSearch, source: Any) -> None:
    scorer = OverlapScorer()
    body = {**RINGS, "_source": source, "size": 2}
    answer = rerank_search(client, INDEX, body, scorer=scorer, fields=["body", "reviews.text"], rank_window_size=5)
    plain = {hit["_id"]: hit for hit in client.search(index=INDEX, body={**body, "size": 5})["hits"]["hits"]}
    assert scorer.asked[0][1][0].startswith("filler 0.")
    assert scorer.asked[0][1][0].endswith("rated 0 stars")
    for hit in answer["hits"]["hits"]:
        ours = {"_score", "_first_stage_score", "_first_stage_rank"}
        assert {key: value for key, value in hit.items() if key not in ours} == {
            key: value for key, value in plain[hit["_id"]].items() if key != "_score"
        }


def test_fields_that_the_caller_requested_are_kept(client: opensearchpy.OpenSearch) -> None:
    body = {**RINGS, "_source": False, "fields": ["pr*"], "size": 1}
    answer = rerank_search(client, INDEX, body, scorer=OverlapScorer(), fields=["price", "title"])
    assert list(answer["hits"]["hits"][0]["fields"]) == ["price"]


def test_fragments_of_a_long_field_are_judged_and_not_returned(client: opensearchpy.OpenSearch) -> None:
    scorer = OverlapScorer()
    body = {"query": {"match": {"body": "gold ada"}}}
    answer = rerank_search(client, INDEX, body, scorer=scorer, highlight=True)
    (document,) = scorer.asked[0][1]
    assert "gold" in document
    assert "Ada" in document
    assert len(document) < 1000  # of 2,000
    assert "highlight" not in answer["hits"]["hits"][0]


def test_aggregations_and_totals_are_not_changed(client: opensearchpy.OpenSearch) -> None:
    body = {**RINGS, "size": 1, "aggs": {"dearest": {"max": {"field": "price"}}}}
    answer = rerank_search(client, INDEX, body, scorer=OverlapScorer())
    assert answer["aggregations"]["dearest"]["value"] == 39
    assert answer["hits"]["total"]["value"] == 40


def test_if_the_reranker_is_down_the_answer_is_the_first_stage_with_a_mark(client: opensearchpy.OpenSearch) -> None:
    answer = rerank_search(client, INDEX, RINGS, scorer=DownScorer())
    assert _ids(answer) == _ids(client.search(index=INDEX, body=RINGS))
    assert answer["slimrank"]["reranked"] is False


def test_if_there_is_no_gateway_the_answer_is_the_first_stage_with_a_mark(client: opensearchpy.OpenSearch) -> None:
    answer = rerank_search(client, INDEX, RINGS, scorer="http://127.0.0.1:9")
    assert "does not answer" in answer["slimrank"]["reason"]


def test_an_async_client_gives_the_same_answer(client: opensearchpy.OpenSearch, opensearch: Engine) -> None:
    async def search() -> dict[str, Any]:
        async with opensearchpy.AsyncOpenSearch(opensearch.url) as asynchronous:
            return await rerank_search(asynchronous, INDEX, RINGS, scorer=ReverseScorer(), rank_window_size=20)

    assert _ids(asyncio.run(search())) == _ids(rerank_search(client, INDEX, RINGS, scorer=ReverseScorer(), rank_window_size=20))


def test_an_error_of_the_engine_is_the_client_librarys_exception(client: opensearchpy.OpenSearch) -> None:
    with pytest.raises(opensearchpy.NotFoundError):
        rerank_search(client, "no-such-index", RINGS, scorer=OverlapScorer())
