import asyncio
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import Field

from connector.frameworks.llamaindex import SlimrankPostprocessor
from slimrank.errors import InvalidRequest, ScoringError
from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS, TiedScorer
from tests.doubles import FakeScorer


def nodes(count: int = 5) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(place)), score=1 - place / 10) for place, text in enumerate(TEXTS[:count])
    ]


def places(found: list[NodeWithScore]) -> list[int]:
    return [int(node.node.node_id) for node in found]


def test_the_best_nodes_come_first_with_their_scores(scorer: object) -> None:
    found = SlimrankPostprocessor(scorer=scorer, top_n=3).postprocess_nodes(nodes(), query_str=QUERY)
    assert places(found) == BEST_FIRST[:3]
    assert [node.score for node in found] == sorted((node.score for node in found), reverse=True)


def test_scores_are_matched_by_index_and_not_by_place(unsorted: object) -> None:
    found = SlimrankPostprocessor(scorer=unsorted).postprocess_nodes(nodes(), query_str=QUERY)
    assert [(int(node.node.node_id), node.score) for node in found] == [(4, 5.0), (2, 4.0), (1, 3.0), (3, 2.0), (0, 1.0)]


def test_the_postprocessor_can_be_awaited(scorer: object) -> None:
    assert places(asyncio.run(SlimrankPostprocessor(scorer=scorer).apostprocess_nodes(nodes(), query_str=QUERY))) == BEST_FIRST


def test_the_retrievers_score_is_kept_on_request() -> None:
    found = SlimrankPostprocessor(scorer=FakeScorer(), keep_retrieval_score=True).postprocess_nodes(nodes(), query_str=QUERY)
    assert found[0].node.metadata["retrieval_score"] == pytest.approx(0.6)


def test_a_failure_raises_or_keeps_the_order() -> None:
    with pytest.raises(ScoringError):
        SlimrankPostprocessor(scorer=FakeScorer()).postprocess_nodes(nodes(), query_str="fail")
    given = nodes()
    kept = SlimrankPostprocessor(scorer=FakeScorer(), on_failure="keep_order", top_n=2).postprocess_nodes(given, query_str="fail")
    assert kept == given[:2]


@pytest.mark.parametrize("count", [0, 1])
def test_zero_and_one_node_work(scorer: object, count: int) -> None:
    assert places(SlimrankPostprocessor(scorer=scorer).postprocess_nodes(nodes(count), query_str=QUERY)) == list(range(count))


def test_ties_keep_the_order() -> None:
    assert places(SlimrankPostprocessor(scorer=TiedScorer()).postprocess_nodes(nodes(), query_str=QUERY)) == [0, 1, 2, 3, 4]


def test_a_missing_query_is_named() -> None:
    with pytest.raises(InvalidRequest, match="without a query"):
        SlimrankPostprocessor(scorer=FakeScorer()).postprocess_nodes(nodes())


def test_the_retrievers_order_is_a_prior_by_default(first_stage_reranker: object) -> None:
    fused = SlimrankPostprocessor(scorer=first_stage_reranker)
    assert places(fused.postprocess_nodes(nodes(), query_str=QUERY)) == [0, 1, 2, 3, 4]
    plain = SlimrankPostprocessor(scorer=first_stage_reranker, first_stage_order=False)
    assert places(plain.postprocess_nodes(nodes(), query_str=QUERY)) == BEST_FIRST


class Heard(BaseEventHandler):
    """Keeps the rerank events that LlamaIndex sends to tracers."""

    events: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, ReRankStartEvent | ReRankEndEvent):
            self.events.append(event)


def test_tracers_get_the_same_events_as_from_llamaindexs_own_rerankers() -> None:
    heard = Heard()
    root = get_dispatcher()
    root.add_event_handler(heard)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    postprocessor = SlimrankPostprocessor(scorer=FakeScorer(), top_n=2, callback_manager=CallbackManager([debug]))
    try:
        found = postprocessor.postprocess_nodes(nodes(), query_str=QUERY)
    finally:
        root.event_handlers.remove(heard)
    start, end = heard.events
    assert (start.query.query_str, len(start.nodes), start.top_n, start.model_name) == (QUERY, 5, 2, "slimrank")
    assert places(end.nodes) == places(found) == BEST_FIRST[:2]
    ((began, ended),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert (began.payload[EventPayload.QUERY_STR], began.payload[EventPayload.TOP_K]) == (QUERY, 2)
    assert places(ended.payload[EventPayload.NODES]) == BEST_FIRST[:2]


@pytest.mark.parametrize("query", [QUERY, "fail"], ids=["scored", "kept"])
def test_the_given_nodes_are_not_changed_and_not_shared(query: str) -> None:
    given = nodes()
    for node in given:
        node.node.metadata["tags"] = ["first"]
    before = [node.model_dump() for node in given]
    postprocessor = SlimrankPostprocessor(scorer=FakeScorer(), keep_retrieval_score=True, on_failure="keep_order")
    for node in postprocessor.postprocess_nodes(given, query_str=query):
        node.node.metadata["tags"].append("changed by the caller")
        node.score = 0.0
    assert [node.model_dump() for node in given] == before
