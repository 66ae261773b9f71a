import asyncio
import json

import httpx
import pytest

from connector.playground.rankers import GatewayRanker
from slimrank.errors import DeadlineExceeded, ModelNotReady, Overloaded
from tests.playground.pages import fake_ranker

ANSWER = {
    "results": [{"index": 1, "relevance_score": 2.0}, {"index": 0, "relevance_score": -2.0}],
    "usage": {"total_tokens": 9},
    "meta": {"model": "m", "truncated_documents": [0], "calibration": {"scale": 0.5, "offset": 1.0}},
}
HEADERS = {"x-queue-time": "3", "x-inference-time": "40"}


def rank(answer: httpx.Response, timeout_seconds: float = 2.0) -> tuple[object, dict[str, object]]:
    sent: list[dict[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return answer

    ranker = GatewayRanker("http://gateway:8080/", transport=httpx.MockTransport(handle))
    return asyncio.run(ranker.rank("query", ["a", "b"], timeout_seconds=timeout_seconds)), sent[0]


def test_a_gateways_answer_comes_in_first_stage_order_with_its_times() -> None:
    ranking, body = rank(httpx.Response(200, json=ANSWER, headers=HEADERS))
    assert body == {"query": "query", "documents": ["a", "b"], "raw_scores": True, "deadline_ms": 2000}
    assert ranking.scored.scores.tolist() == [-2.0, 2.0]  # type: ignore[attr-defined]
    assert ranking.scored.truncated.tolist() == [True, False]  # type: ignore[attr-defined]
    assert (ranking.queue_seconds, ranking.infer_seconds, ranking.model) == (0.003, 0.04, "m")  # type: ignore[attr-defined]


def test_probabilities_are_calibrated_as_the_gateway_says() -> None:
    ranking, _ = rank(httpx.Response(200, json=ANSWER))
    assert ranking.probabilities == pytest.approx([0.5, 0.8807970779778823])  # type: ignore[attr-defined]


def test_a_gateways_errors_are_ours() -> None:
    with pytest.raises(Overloaded):
        rank(httpx.Response(429, json={"message": "too much waits"}))


def test_a_gateway_that_is_down_is_told_so() -> None:
    with pytest.raises(ModelNotReady, match="slimrank serve"):
        asyncio.run(GatewayRanker("http://127.0.0.1:9").rank("query", ["a"], timeout_seconds=2))


def test_a_slow_gateway_meets_the_deadline() -> None:
    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        return httpx.Response(200)

    ranker = GatewayRanker("http://gateway", transport=httpx.MockTransport(handle))
    with pytest.raises(DeadlineExceeded, match=r"1 documents within 0\.05 s"):
        asyncio.run(ranker.rank("query", ["a"], timeout_seconds=0.05))


def test_a_real_gateway_and_a_model_in_process_say_the_same() -> None:
    from slimrank.serving.model import Model
    from slimrank.serving.server import make_app
    from slimrank.settings import Settings
    from tests.doubles import FakeScorer

    documents = ["a tree", "delete a tree", "nothing"]

    async def both() -> tuple[object, object]:
        app = make_app(Settings(embedded=True), Model("fake", FakeScorer()))
        near, far = fake_ranker(), GatewayRanker("http://localhost", transport=httpx.ASGITransport(app))
        async with app.router.lifespan_context(app):
            await near.start()
            answers = [await ranker.rank("delete a tree", documents, timeout_seconds=5) for ranker in (near, far)]
            await near.stop()
            await far.stop()
        return answers[0], answers[1]

    near, far = asyncio.run(both())
    assert near.scored.scores.tolist() == pytest.approx(far.scored.scores.tolist(), rel=1e-6)  # type: ignore[attr-defined]
    assert near.probabilities == pytest.approx(far.probabilities, rel=1e-6)  # type: ignore[attr-defined]
