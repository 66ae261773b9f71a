import asyncio
import json

import httpx
import pytest

from connector.playground.rankers import EmbeddedRanker, GatewayRanker, Ranking
from slimrank.engine.model import Model
from slimrank.errors import DeadlineExceeded, ModelNotReady, Overloaded
from slimrank.identity import ModelIdentity
from tests.connector.playground.pages import fake_ranker
from tests.doubles import FakeScorer

ANSWER = {
    "results": [{"index": 1, "relevance_score": 2.0}, {"index": 0, "relevance_score": -2.0}],
    "usage": {"total_tokens": 9},
    "meta": {"model": "m", "truncated_documents": [0], "calibration": {"scale": 0.5, "offset": 1.0}},
}
ONE = {"results": [{"index": 0, "relevance_score": 2.0}]}
HEADERS = {"x-queue-time": "3", "x-inference-time": "40"}


def rank(answer: httpx.Response, timeout_seconds: float = 2.0) -> tuple[object, dict[str, object]]:
    sent: list[dict[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return answer

    ranker = GatewayRanker("http://gateway:8080/", transport=httpx.MockTransport(handle))
    return asyncio.run(ranker.rank("query", ["a", "b"], timeout_seconds=timeout_seconds)), sent[0]


def test_a_gateways_answer_is_returned_in_first_stage_order_with_its_times() -> None:
    ranking, body = rank(httpx.Response(200, json=ANSWER, headers=HEADERS))
    assert body == {"query": "query", "documents": ["a", "b"], "raw_scores": True, "deadline_ms": 2000}
    assert ranking.scored.scores.tolist() == [-2.0, 2.0]  # type: ignore[attr-defined]
    assert ranking.scored.truncated.tolist() == [True, False]  # type: ignore[attr-defined]
    assert (ranking.queue_seconds, ranking.infer_seconds, ranking.model.name) == (0.003, 0.04, "m")  # type: ignore[attr-defined]


def test_probabilities_use_the_gateways_calibration() -> None:
    ranking, _ = rank(httpx.Response(200, json=ANSWER))
    assert ranking.probabilities() == pytest.approx([0.5, 0.8807970779778823])  # type: ignore[attr-defined]


def test_a_gateways_errors_become_slimrank_errors() -> None:
    with pytest.raises(Overloaded):
        rank(httpx.Response(429, json={"message": "too much waits"}))


def test_a_gateway_that_is_down_is_reported() -> None:
    with pytest.raises(ModelNotReady, match="slimrank serve"):
        asyncio.run(GatewayRanker("http://127.0.0.1:9").rank("query", ["a"], timeout_seconds=2))


def test_a_slow_gateway_raises_deadline_exceeded() -> None:
    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        return httpx.Response(200)

    ranker = GatewayRanker("http://gateway", grace_seconds=0.01, transport=httpx.MockTransport(handle))
    with pytest.raises(DeadlineExceeded, match=r"1 documents within 0\.05 s"):
        asyncio.run(ranker.rank("query", ["a"], timeout_seconds=0.05))


def test_a_partial_answer_of_the_gateway_at_the_deadline_is_used() -> None:
    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)
        return httpx.Response(200, json=ANSWER | {"meta": ANSWER["meta"] | {"scored_documents": 1, "partial": True}})  # type: ignore[operator]

    ranker = GatewayRanker("http://gateway", transport=httpx.MockTransport(handle))
    assert asyncio.run(ranker.rank("query", ["a", "b"], timeout_seconds=0.05)).scored.depth == 1


def test_a_model_in_this_process_returns_its_scores_so_far_at_the_deadline() -> None:
    async def ranked() -> Ranking:
        ranker = EmbeddedRanker(Model(ModelIdentity("slow"), FakeScorer(document_seconds=0.06)))
        await ranker.start()
        try:
            return await ranker.rank("a tree", ["a tree"] * 20, timeout_seconds=0.4)
        finally:
            await ranker.stop()

    depth = asyncio.run(ranked()).scored.depth
    assert depth is not None and 0 < depth < 20


def test_the_fitted_weight_is_known_before_a_search_unless_the_gateway_is_down() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=ONE | {"meta": {"fusion_weight": 0.7}}))
    assert asyncio.run(GatewayRanker("http://gateway", transport=transport).fusion_weight()) == 0.7
    assert asyncio.run(fake_ranker(fusion_weight=0.4).fusion_weight()) == 0.4
    assert asyncio.run(GatewayRanker("http://127.0.0.1:9").fusion_weight()) is None


def test_a_real_gateway_and_a_model_in_this_process_give_the_same_scores() -> None:
    from slimrank.serving.gateway.server import make_app
    from slimrank.settings import Settings

    documents = ["a tree", "delete a tree", "nothing"]

    async def both() -> tuple[object, object]:
        app = make_app(Settings(embedded=True), Model(ModelIdentity("fake"), FakeScorer()))
        near, far = fake_ranker(), GatewayRanker("http://localhost", transport=httpx.ASGITransport(app))
        async with app.router.lifespan_context(app):
            await near.start()
            answers = [await ranker.rank("delete a tree", documents, timeout_seconds=5) for ranker in (near, far)]
            await near.stop()
            await far.stop()
        return answers[0], answers[1]

    near, far = asyncio.run(both())
    assert near.scored.scores.tolist() == pytest.approx(far.scored.scores.tolist(), rel=1e-6)  # type: ignore[attr-defined]
    assert near.probabilities() == pytest.approx(far.probabilities(), rel=1e-6)  # type: ignore[attr-defined]
