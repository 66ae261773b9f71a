"""Client-side reranking with an engine over a list: windows, pages, marks and failures."""

import asyncio
import copy
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from connector.client import rerank_search
from connector.gateway_client import GatewayScorer
from connector.rerank_plan import Options, plan_search
from connector.window_cache import FirstPageNotScored
from slimrank.engine.reranker import Reranker
from slimrank.errors import ConfigError, ModelNotReady
from slimrank.scoring import only_first
from slimrank.types import Scored
from tests.connector.doubles import AsyncListEngine, DownScorer, ListEngine, OverlapScorer, ReverseScorer

SOURCES = [{"title": f"item {number}", "body": f"word{number}"} for number in range(30)]
BODY: dict[str, Any] = {"query": {"match": {"title": "item"}}}


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_hits_are_reordered_and_keep_their_first_stage_score_and_rank() -> None:
    engine = ListEngine([{"title": "a b c gold"}, {"title": "gold"}])
    answer = rerank_search(engine, "i", {"query": {"match": {"title": "gold"}}}, scorer=OverlapScorer())
    first, second = answer["hits"]["hits"]
    assert (first["_id"], first["_score"], first["_first_stage_score"], first["_first_stage_rank"]) == ("1", 1.0, 1.0, 2)
    assert (second["_id"], second["_score"], second["_first_stage_rank"]) == ("0", 0.25, 1)
    assert answer["hits"]["max_score"] == 1.0
    assert answer["slimrank"] == {"reranked": True, "query": "gold", "hits": 2, "truncated": 0}


def test_the_callers_body_is_not_changed() -> None:
    body = {**BODY, "_source": False, "highlight": {"fields": {}}}
    before = copy.deepcopy(body)
    rerank_search(ListEngine(SOURCES), "i", body, scorer=OverlapScorer(), highlight=True)
    assert body == before


def test_pages_are_cut_from_one_reranked_window_and_continue_after_it() -> None:
    engine = ListEngine(SOURCES)
    pages = [
        _ids(rerank_search(engine, "i", {**BODY, "from": start, "size": 8}, scorer=ReverseScorer(), rank_window_size=20))
        for start in range(0, 32, 8)
    ]
    window = [str(number) for number in reversed(range(20))]
    assert [found for page in pages for found in page] == window + [str(number) for number in range(20, 30)]


def test_a_page_after_the_window_is_not_reranked_and_has_the_reason() -> None:
    engine = ListEngine(SOURCES)
    answer = rerank_search(engine, "i", {**BODY, "from": 20, "size": 5}, scorer=ReverseScorer(), rank_window_size=20)
    assert answer["slimrank"] == {"reranked": False, "reason": "the page starts at 20, beyond the 20 reranked hits"}
    assert engine.bodies == [{**BODY, "from": 20, "size": 5}]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"size": 0}, "size is 0"),
        ({"sort": ["date"]}, "sorted by a field"),
        ({"sort": [{"price": "asc"}], "search_after": [1]}, "sorted by a field"),
        ({"ext": {"rerank": {"query_context": {"query_text": "x"}}}}, "the engine reranks this search itself"),
        ({"query": {"match_all": {}}}, "no text to judge by"),
        ({"stored_fields": ["a"]}, "stored_fields hides the text"),
        ({"query": {"bool": {"should": [{"match": {"a": "x"}}, {"match": {"b": "y"}}]}}}, "has 2 texts, 'x' and 'y'"),
    ],
)
def test_a_search_that_cannot_be_reranked_is_sent_unchanged(extra: dict[str, Any], reason: str) -> None:
    engine = ListEngine(SOURCES)
    body = {**BODY, **extra}
    answer = rerank_search(engine, "i", body, scorer=OverlapScorer())
    assert engine.bodies == [body]
    assert answer["slimrank"]["reranked"] is False
    assert reason in answer["slimrank"]["reason"]


def test_if_the_reranker_is_down_the_answer_is_the_first_stage_with_the_reason() -> None:
    answer = rerank_search(ListEngine(SOURCES), "i", {**BODY, "size": 3}, scorer=DownScorer())
    assert _ids(answer) == ["0", "1", "2"]
    assert answer["slimrank"] == {"reranked": False, "reason": "no worker answers; start one with `slimrank worker`"}


def test_if_the_reranker_is_down_its_error_can_be_raised() -> None:
    with pytest.raises(ModelNotReady):
        rerank_search(ListEngine(SOURCES), "i", BODY, scorer=DownScorer(), on_failure="raise")


def test_the_scorer_is_not_called_without_hits_or_without_text() -> None:
    scorer = OverlapScorer()
    nothing = rerank_search(ListEngine([]), "i", BODY, scorer=scorer)
    empty = rerank_search(ListEngine([{"body": "x"}]), "i", BODY, scorer=scorer)
    assert nothing["slimrank"]["reason"] == "the first stage found nothing"
    assert empty["slimrank"]["reason"] == "the fields title are empty in every hit"
    assert scorer.asked == []


def test_ties_keep_the_first_stage_order() -> None:
    answer = rerank_search(
        ListEngine([{"title": "gold"}] * 5), "i", {"query": {"match": {"title": "gold"}}}, scorer=OverlapScorer()
    )
    assert _ids(answer) == ["0", "1", "2", "3", "4"]


def test_an_async_client_gets_an_awaitable() -> None:
    async def search() -> dict[str, Any]:
        return await rerank_search(AsyncListEngine(SOURCES), "i", {**BODY, "size": 2}, scorer=ReverseScorer(), rank_window_size=5)

    assert _ids(asyncio.run(search())) == ["4", "3"]


def test_a_loaded_reranker_can_be_the_scorer() -> None:
    answer = rerank_search(ListEngine(SOURCES), "i", {**BODY, "size": 1}, scorer=Reranker(ReverseScorer()), rank_window_size=5)
    assert _ids(answer) == ["4"]


def test_the_query_the_instruction_and_the_document_reach_the_scorer() -> None:
    scorer = OverlapScorer()
    rerank_search(
        ListEngine([{"title": "Ring", "body": ["of", "gold"], "price": 3}]), "i", BODY, scorer=scorer,
        query="jewels", instruction="prefer cheap", template="{title} for {price}\n{body}\nMade in {country}",
    )  # fmt: skip
    assert scorer.asked == [("jewels", ["Ring for 3\nof gold"], "prefer cheap")]


def test_explain_shows_both_ranks_and_the_document() -> None:
    answer = rerank_search(ListEngine(SOURCES[:2]), "i", BODY, scorer=ReverseScorer(), explain=True)
    assert answer["hits"]["hits"][0]["_slimrank"] == {
        "rank": 1, "first_stage_rank": 2, "probability": pytest.approx(0.7310586), "truncated": False, "document": "item 1"
    }  # fmt: skip


def test_hits_not_scored_in_time_follow_in_first_stage_order_and_are_counted() -> None:
    class Hurried(ReverseScorer):
        def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
            return only_first(super().score(query, documents[:2]), len(documents))

    answer = rerank_search(ListEngine(SOURCES[:4]), "i", BODY, scorer=Hurried())
    assert _ids(answer) == ["1", "0", "2", "3"]
    assert (answer["slimrank"]["hits"], answer["slimrank"]["scored"]) == (4, 2)


def test_fields_and_a_template_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="not both"):
        rerank_search(ListEngine(SOURCES), "i", BODY, scorer=OverlapScorer(), fields=["title"], template="{title}")


def test_a_window_of_0_hits_is_refused() -> None:
    with pytest.raises(ConfigError, match="rank_window_size is 0"):
        rerank_search(ListEngine(SOURCES), "i", BODY, scorer=OverlapScorer(), rank_window_size=0)


def test_the_window_is_not_wider_than_the_fusion() -> None:
    engine = ListEngine(SOURCES)
    fusion = {"retrievers": [{"standard": BODY}], "rank_window_size": 20}
    answer = rerank_search(engine, "i", {"retriever": {"rrf": fusion}, "size": 5}, scorer=ReverseScorer())
    assert engine.bodies[0]["size"] == 20
    assert _ids(answer)[0] == "19"


@pytest.mark.parametrize(("source", "left"), [(["title"], True), (False, False)])
def test_without_fields_the_visible_source_is_judged_or_all_of_it_if_it_is_hidden(source: Any, left: bool) -> None:
    engine, scorer = ListEngine([{"title": "gold"}]), OverlapScorer()
    body = {"query": {"simple_query_string": {"query": "gold"}}, "_source": source}
    answer = rerank_search(engine, "i", body, scorer=scorer)
    assert scorer.asked[0][1] == ["gold"]
    assert ("_source" in answer["hits"]["hits"][0]) is left


@pytest.mark.parametrize("extra", [{"size": "ten"}, {"from": 1.5}, {"size": None}])
def test_an_invalid_page_is_left_for_the_engine_to_refuse(extra: dict[str, Any]) -> None:
    plan = plan_search({**BODY, **extra}, Options())
    assert (plan.body, plan.reason) == ({**BODY, **extra}, "size or from is not a whole number")


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({"rrf": {"retrievers": [], "rank_window_size": 30}}, 30),
        ({"linear": {"retrievers": []}}, 10),
        ({"rule": {"retriever": {}, "rank_window_size": "x"}}, 10),
        ({"rescorer": {"retriever": {}, "rescore": [{"window_size": 25}, {"window_size": 15}]}}, 25),
        ({"standard": {"query": {"match": {"title": "item"}}}}, 100),
    ],
)
def test_a_compound_retriever_is_not_asked_for_more_hits_than_it_ranks(more: dict[str, Any], size: int) -> None:
    plan = plan_search({"retriever": more, "from": 5}, Options(query="item", rank_window_size=100))
    assert (plan.body["size"], plan.depends_on_size) == (size, "standard" not in more)


def test_the_older_form_of_a_fusion_is_supported() -> None:
    searches = [{"query": {"match": {"title": "item"}}}, {"query": {"match": {"body": "item"}}}]
    plan = plan_search({"sub_searches": searches, "rank": {"rrf": {"window_size": 40}}}, Options(rank_window_size=100))
    assert (plan.query, plan.template.fields, plan.body["size"]) == ("item", ("title", "body"), 40)


def test_a_page_that_exceeds_the_window_of_a_hybrid_search_is_not_reranked() -> None:
    body = {"query": {"hybrid": {"queries": [{"match": {"title": "item"}}]}}, "from": 15}
    assert plan_search(body, Options(rank_window_size=20)).reason.startswith("a page of a hybrid search goes beyond the window")
    assert plan_search(body, Options(rank_window_size=25)).body["size"] == 25


class _HurriedGateway:
    """Scores later documents higher, but only the first ``depth`` documents in time."""

    def __init__(self) -> None:
        self.depth, self.calls, self.is_down = 4, 0, False

    def scorer(self) -> GatewayScorer:
        return GatewayScorer("http://gateway", http=httpx.Client(transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.is_down:
            return httpx.Response(503, json={"message": "no worker answers"})
        count = len(json.loads(request.content)["documents"])
        scores = [float(place) if place < self.depth else -1000.0 - place for place in range(count)]
        results = [{"index": place, "relevance_score": score} for place, score in enumerate(scores)]
        return httpx.Response(200, json={"results": results, "meta": {"scored_documents": min(count, self.depth)}})


def test_ten_pages_through_a_gateway_with_a_deadline_show_every_hit_once() -> None:
    gateway, walked = _HurriedGateway(), []
    scorer = gateway.scorer()
    for place in range(10):
        gateway.depth = 4 + 5 * (place % 3)
        walked += _ids(rerank_search(ListEngine(SOURCES), "i", {**BODY, "from": 3 * place, "size": 3}, scorer=scorer))
    assert walked == [str(place) for place in (3, 2, 1, 0, *range(4, 30))]
    assert gateway.calls == 1


def test_if_the_first_page_was_not_reranked_the_next_is_not_either_and_says_so() -> None:
    gateway = _HurriedGateway()
    scorer, second = gateway.scorer(), {**BODY, "from": 10}
    gateway.is_down = True
    first_page = rerank_search(ListEngine(SOURCES), "i", BODY, scorer=scorer)
    gateway.is_down = False
    answer = rerank_search(ListEngine(SOURCES), "i", second, scorer=scorer)
    assert _ids(first_page) + _ids(answer) == [str(place) for place in range(20)]
    assert answer["slimrank"]["reason"].startswith("the first page of this search was not reranked")
    with pytest.raises(FirstPageNotScored):
        rerank_search(ListEngine(SOURCES), "i", second, scorer=scorer, on_failure="raise")
