import asyncio
import json
from pathlib import Path

import httpx
import pytest

from connector.proxy.scorer import EmbeddedScorer, RemoteScorer
from connector.window_cache import Part
from slimrank import Reranker
from slimrank.engine.jobs import Answer, Job
from slimrank.errors import ConfigError, DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, ScoringError, SlimrankError
from slimrank.identity import ModelIdentity
from slimrank.scoring import only_first
from slimrank.types import Scored


def score(transport: httpx.AsyncBaseTransport, documents: list[str]) -> list[float]:
    async def run() -> list[float]:
        scorer = RemoteScorer("http://gateway:8080/", api_key="k", transport=transport)
        await scorer.start()
        try:
            scored = await scorer.score("red", documents, instruction="prefer new", timeout_seconds=0.5)
            return [float(value) for value in scored.scores]
        finally:
            await scorer.stop()

    return asyncio.run(run())


def test_scores_are_matched_by_index_and_not_by_place() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        results = [{"index": index, "relevance_score": float(index)} for index in (2, 0, 1)]
        return httpx.Response(200, json={"results": results})

    assert score(httpx.MockTransport(answer), ["a", "b", "c"]) == [0.0, 1.0, 2.0]
    assert str(asked[0].url) == "http://gateway:8080/v1/rerank"
    assert asked[0].headers["x-slimrank-deadline-ms"] == "500"
    assert asked[0].headers["authorization"] == "Bearer k"
    assert json.loads(asked[0].content) == {
        "query": "red", "documents": ["a", "b", "c"], "raw_scores": True, "instruction": "prefer new",
        "first_stage_order": True, "first_stage_offset": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequest),
        (429, Overloaded),
        (503, ModelNotReady),
        (504, DeadlineExceeded),
        (500, ScoringError),
        (200, ScoringError),
    ],
)
def test_every_refusal_of_the_gateway_gives_a_slimrank_error(status: int, error: type[SlimrankError]) -> None:
    with pytest.raises(error):
        score(httpx.MockTransport(lambda _: httpx.Response(status, text="?")), ["a"])


def test_the_gateway_gets_the_part_of_a_document_that_a_rule_names() -> None:
    bodies: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 1.0}]})

    async def run() -> None:
        scorer = RemoteScorer("http://gateway:8080", transport=httpx.MockTransport(answer))
        await scorer.score("red", ["a"], instruction=None, timeout_seconds=1, part=Part("best", 128))
        await scorer.score("red", ["a"], instruction=None, timeout_seconds=1)
        await scorer.stop()

    asyncio.run(run())
    assert (bodies[0]["document_window"], bodies[0]["max_tokens_per_doc"]) == ("best", 128)
    assert not {"document_window", "max_tokens_per_doc"} & bodies[1].keys()


def test_a_gateway_that_is_down_raises_model_not_ready() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ModelNotReady):
        score(httpx.MockTransport(answer), ["a"])


def test_a_first_stage_answer_of_the_gateway_is_a_scoring_error() -> None:
    body = {"results": [{"index": 0, "relevance_score": -1000.0}], "meta": {"degraded": "overloaded"}}
    with pytest.raises(ScoringError, match="overloaded"):
        score(httpx.MockTransport(lambda _: httpx.Response(200, json=body)), ["a"])


def test_an_invalid_url_is_refused() -> None:
    with pytest.raises(ConfigError):
        RemoteScorer("gateway:8080")


def test_a_model_in_this_process_gives_the_same_scores_as_the_gateway(tiny_model: Path) -> None:
    async def run() -> list[float]:
        scorer = EmbeddedScorer(tiny_model)
        await scorer.start()
        try:
            scored = await scorer.score("red", ["a", "a b c"], instruction=None, timeout_seconds=30)
            return [float(value) for value in scored.scores]
        finally:
            await scorer.stop()

    loaded = Reranker.load(tiny_model).scorer
    assert asyncio.run(run()) == [float(value) for value in loaded.score("red", ["a", "a b c"]).scores]


def test_a_model_in_this_process_answers_with_what_is_scored_by_the_deadline_and_reads_the_part_that_a_rule_names(
    tiny_model: Path,
) -> None:
    jobs: list[Job] = []

    class Kept:
        async def score(self, job: Job, *, timeout_seconds: float) -> Answer:
            jobs.append(job)
            return Answer(
                only_first(Reranker.load(tiny_model).scorer.score("red", ["a"]), 3), ModelIdentity("tiny", fusion_weight=1.0)
            )

    async def run() -> Scored:
        scorer = EmbeddedScorer(tiny_model)
        scorer._backend = Kept()
        return await scorer.score("red", ["a", "b", "c"], instruction=None, timeout_seconds=1, part=Part("best", 48))

    scored = asyncio.run(run())
    assert (jobs[0].takes_partial, jobs[0].document_window, jobs[0].max_document_tokens) == (True, "best", 48)
    assert (scored.depth, len(scored.scores)) == (1, 3)
    assert scored.scores[0] > scored.scores[1] > scored.scores[2]
