"""Scoring through the gateway: the request, the order of the scores, and a slimrank error for every failure."""

import json
from collections.abc import Callable

import httpx
import pytest

from connector.gateway_client import GatewayScorer, gateway_at
from slimrank.errors import ConfigError, DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, ScoringError

ANSWER = {
    "results": [{"index": 1, "relevance_score": 2.5}, {"index": 0, "relevance_score": -1.0}],
    "usage": {"total_tokens": 7},
    "meta": {"query_truncated": True, "truncated_documents": [1]},
}


def _scorer(handler: Callable[[httpx.Request], httpx.Response]) -> GatewayScorer:
    return GatewayScorer("http://gateway:8080/", api_key="k", http=httpx.Client(transport=httpx.MockTransport(handler)))


def test_scores_are_returned_in_the_order_of_the_documents() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    scored = _scorer(answer).score("q", ["a", "b"], instruction="i")
    assert scored.scores.tolist() == [-1.0, 2.5]
    assert scored.truncated.tolist() == [False, True]
    assert (scored.query_truncated, scored.tokens) == (True, 7)
    (request,) = seen
    assert str(request.url) == "http://gateway:8080/v1/rerank"
    assert request.headers["authorization"] == "Bearer k"
    asked = {"query": "q", "documents": ["a", "b"], "raw_scores": True, "deadline_ms": 10_000, "instruction": "i"}
    assert json.loads(request.content) == asked


def test_the_first_stage_order_is_sent_if_the_documents_are_in_it() -> None:
    seen: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return httpx.Response(200, json=ANSWER)

    scorer = _scorer(answer)
    scorer.score("q", ["a", "b"])
    scorer.score_in_order("q", ["a", "b"], offset=10)
    assert "first_stage_order" not in seen[0]
    assert (seen[1]["first_stage_order"], seen[1]["first_stage_offset"]) == (True, 10)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, InvalidRequest), (413, InvalidRequest), (422, InvalidRequest), (429, Overloaded), (503, ModelNotReady),
     (502, ModelNotReady), (504, DeadlineExceeded), (500, ScoringError), (404, ScoringError), (401, ScoringError)],
)  # fmt: skip
def test_an_error_answer_becomes_a_slimrank_error_with_the_gateways_message(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{status}: because"):
        _scorer(lambda request: httpx.Response(status, json={"message": "because"})).score("q", ["a"])


def _raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return handler


@pytest.mark.parametrize(
    "name", [name for name in httpx.__all__ if name.endswith(("Timeout", "Error")) and name != "HTTPStatusError"]
)
def test_every_transport_error_becomes_a_slimrank_error(name: str) -> None:
    kind = getattr(httpx, name)
    if not issubclass(kind, httpx.TransportError):
        return
    expected = DeadlineExceeded if issubclass(kind, httpx.TimeoutException) else ModelNotReady
    with pytest.raises(expected):
        _scorer(_raising(kind("gone"))).score("q", ["a"])


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "[]",
        '{"results": null}',
        '{"results": [{"index": 0}]}',
        '{"results": [{"index": 0, "relevance_score": 1.0}]}',
        '{"results": [{"index": 5, "relevance_score": 1.0}]}',
        '{"results": [{"index": 0, "relevance_score": "x"}]}',
    ],
)
def test_an_answer_without_one_score_for_each_document_is_refused(body: str) -> None:
    with pytest.raises(ScoringError):
        _scorer(lambda request: httpx.Response(200, text=body)).score("q", ["a", "b"])


@pytest.mark.parametrize("url", ["gateway:8080", "", "ftp://gateway"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        GatewayScorer(url)


def test_a_partial_answer_is_accepted_for_a_search_and_refused_for_an_audit() -> None:
    body = {"results": [{"index": 0, "relevance_score": 1.5}, {"index": 1, "relevance_score": -1001.0}]}
    partial = httpx.Response(200, json=body | {"meta": {"scored_documents": 1, "partial": True}})
    http = httpx.Client(transport=httpx.MockTransport(lambda request: partial))
    scored = GatewayScorer("http://gateway:8080", http=http).score("q", ["a", "b"])
    assert scored.depth == 1
    with pytest.raises(DeadlineExceeded, match="scored 1 of 2 documents in time"):
        GatewayScorer("http://gateway:8080", priority="audit", http=http).score("q", ["a", "b"])


def test_the_same_url_gives_the_same_scorer() -> None:
    assert gateway_at("http://gateway:8080") is gateway_at("http://gateway:8080")
