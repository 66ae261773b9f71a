"""Deadlines, admission, the circuit breaker and answers in first-stage order: nobody waits, and never silently."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from tests.doubles import FakeScorer
from tests.serving.conftest import over

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}
SECONDS = 0.5


@pytest.fixture(scope="module")
def slow() -> Iterator[httpx.Client]:
    """Yield a client of a gateway that takes half a second a request and lets one second of work wait."""
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer(seconds=SECONDS))), max_backlog_seconds=1) as client:
        yield client


def test_a_deadline_in_body_or_header_is_kept(slow: httpx.Client) -> None:
    for options in ({"json": GOOD | {"deadline_ms": 100}}, {"json": GOOD, "headers": {"x-slimrank-deadline-ms": "100"}}):
        begin = time.monotonic()
        answer = slow.post("/v1/rerank", **options)
        assert time.monotonic() - begin < 0.45
        assert answer.status_code == 504
        assert answer.json()["type"] == "deadline_exceeded"
        assert answer.json()["message"].startswith("no answer within 0.")


def test_the_shorter_of_header_and_field_counts(slow: httpx.Client) -> None:
    answer = slow.post("/v1/rerank", json=GOOD | {"deadline_ms": 20_000}, headers={"x-slimrank-deadline-ms": "50"})
    assert answer.status_code == 504


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "soon", "", "99999999999", "٣"])
def test_a_deadline_that_is_no_number_is_refused(slow: httpx.Client, value: str) -> None:
    answer = slow.post("/v1/rerank", json=GOOD, headers={"x-slimrank-deadline-ms": value.encode()})
    assert answer.status_code == 422
    assert slow.post("/v1/rerank", json=GOOD | {"deadline_ms": 0}).status_code == 422


def test_expired_work_is_not_scored() -> None:
    scorer = FakeScorer(seconds=0.2)
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), scorer))) as client, ThreadPoolExecutor(10) as pool:
        body = GOOD | {"deadline_ms": 250}
        statuses = [answer.status_code for answer in pool.map(lambda _: client.post("/v1/rerank", json=body), range(10))]
        time.sleep(0.5)
    assert statuses.count(504) + statuses.count(429) >= 8
    assert scorer.calls <= 3


@pytest.mark.parametrize("raw_scores", [False, True])
def test_first_stage_order_is_answered_with_every_mark(slow: httpx.Client, raw_scores: bool) -> None:
    body = {"query": "x", "documents": ["a"] * 100, "deadline_ms": 60, "on_failure": "first_stage", "raw_scores": raw_scores}
    before = degraded(slow, "deadline_exceeded")
    answer = slow.post("/v1/rerank", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-slimrank-degraded"] == "deadline_exceeded"
    assert answer.json()["meta"]["degraded"] == "deadline_exceeded"
    assert degraded(slow, "deadline_exceeded") == before + 1
    results = answer.json()["results"]
    assert [result["index"] for result in results] == list(range(100))
    values = [result["relevance_score"] for result in results]
    assert values == sorted(set(values), reverse=True)
    assert all(value <= -1000 if raw_scores else 0 < value <= 1e-11 for value in values)
    written = re.findall(r'"relevance_score":([^,}]+)', answer.text)
    assert all(re.fullmatch(r"-?\d+\.\d+", value) and len(value) <= 18 for value in written)


def test_the_band_holds_ten_thousand_documents(slow: httpx.Client) -> None:
    body = {"query": "x", "documents": ["a"] * 10_000, "deadline_ms": 150, "on_failure": "first_stage"}
    values = [result["relevance_score"] for result in slow.post("/v1/rerank", json=body).json()["results"]]
    assert len(set(values)) == 10_000
    assert max(values) <= 1e-11


def test_first_stage_order_has_the_callers_shape(slow: httpx.Client) -> None:
    body = {"query": "x", "texts": ["a", "b"], "deadline_ms": 50, "on_failure": "first_stage"}
    answer = slow.post("/rerank", json=body)
    assert answer.headers["x-slimrank-degraded"]
    assert [result["index"] for result in answer.json()] == [0, 1]


def test_a_wrong_request_is_an_error_even_where_failures_are_not(slow: httpx.Client) -> None:
    assert slow.post("/v1/rerank", json={"query": "", "documents": ["a"], "on_failure": "first_stage"}).status_code == 400


def test_a_failing_model_leaves_the_first_stage_order(slow: httpx.Client) -> None:
    for query, reason in (("fail", "internal"), ("fault", "internal")):
        answer = slow.post("/v1/rerank", json={"query": query, "documents": ["a"], "on_failure": "first_stage"})
        assert (answer.status_code, answer.headers["x-slimrank-degraded"]) == (200, reason)


def test_what_would_wait_too_long_is_refused_at_once() -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer(seconds=SECONDS))), max_backlog_seconds=1) as slow:
        assert slow.post("/v1/rerank", json=GOOD).status_code == 200  # teaches the speed

        def ask(number: int) -> tuple[httpx.Response, float]:
            time.sleep(number / 100)
            body: dict[str, Any] = GOOD | {"on_failure": "first_stage" if number % 2 else "error"}
            begin = time.monotonic()
            return slow.post("/v1/rerank", json=body), time.monotonic() - begin

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, range(20)))
        assert slow.post("/v1/rerank", json=GOOD).status_code == 200
    refused = [(answer, seconds) for answer, seconds in answers if answer.status_code == 429]
    degraded_answers = [answer for answer, _ in answers if "x-slimrank-degraded" in answer.headers]
    assert refused and degraded_answers
    assert len(refused) + len(degraded_answers) >= 15
    assert all(seconds < 1 for _, seconds in refused)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer, _ in refused)
    assert {answer.headers["x-slimrank-degraded"] for answer in degraded_answers} == {"overloaded"}


def test_a_hanging_model_opens_the_breaker_and_an_answer_closes_it() -> None:
    scorer = FakeScorer(seconds=3)
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), scorer))) as client:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: client.post("/v1/rerank", json=GOOD | {"deadline_ms": 300}), range(24)))
        begin = time.monotonic()
        answer = client.post("/v1/rerank", json=GOOD)
        assert time.monotonic() - begin < 1
        assert answer.status_code == 503
        assert "probed" in answer.json()["message"]
        scorer.seconds = 0.0
        deadline = time.monotonic() + 15
        while client.post("/v1/rerank", json=GOOD).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_metrics_count_in_base_units(client: httpx.Client) -> None:
    client.post("/v1/rerank", json=GOOD)
    client.post("/v1/rerank", json={})
    text = client.get("/metrics").text
    for name in (
        "requests_total",
        "request_seconds_bucket",
        "infer_seconds_sum",
        "documents_total",
        "tokens_total",
        "batch_tokens_bucket",
        "queue_seconds_bucket",
        "tokenise_seconds_bucket",
        "truncated_documents_total",
        "cached_documents_total",
        "partial_total",
        "model_info",
    ):
        assert f"slimrank_{name}" in text
    assert 'slimrank_requests_total{status="422"}' in text
    assert "lead" not in text


def degraded(client: httpx.Client, reason: str) -> float:
    found = re.search(rf'slimrank_degraded_total{{reason="{reason}"}} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0.0
