"""Whatever fails, the caller gets the first stage, marked; nothing is held beyond its limit."""

import gzip
import threading
import time

import httpx
import pytest

from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine, Received, Reply
from tests.connector.proxy.searches import SEARCH, ids


def test_a_scorer_that_is_down_leaves_the_first_stage_marked(proxy: RunningProxy, engine: Engine) -> None:
    proxy.scorer.is_down = True
    direct = httpx.post(f"http://127.0.0.1:{engine.port}/products/_search", json={**SEARCH, "from": 3, "_source": ["title"]})
    answer = proxy.search({**SEARCH, "from": 3, "_source": ["title"]})
    assert answer.headers["x-slimrank"] == "degraded; reason=no scorer: no worker answers"
    assert answer.content == direct.content
    assert proxy.metric('slimrank_proxy_requests_total{outcome="degraded",reason="no scorer"} 1.0')


def test_a_slow_scorer_is_not_waited_for(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["*"], "fields": ["body"], "deadline_ms": 50}
    proxy = start_proxy({"rules": [rule]})
    proxy.scorer.seconds = 10
    begin = time.monotonic()
    answer = proxy.search(SEARCH)
    assert time.monotonic() - begin < 5
    assert answer.headers["x-slimrank"] == "degraded; reason=deadline: no scores within 50 ms"
    assert ids(answer) == list(range(10))
    assert proxy.scorer.cancelled == 1


def test_hits_that_a_deadline_left_unscored_follow_in_their_order_and_are_counted(proxy: RunningProxy) -> None:
    proxy.scorer.depth = 4
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "reranked; reason=rule products: 4 of 20 hits scored in time"
    assert ids(answer) == [3, 2, 1, 0, 4, 5, 6, 7, 8, 9]
    assert proxy.metric('slimrank_proxy_requests_total{outcome="reranked",reason="rule products"} 1.0')


def test_hits_without_any_text_stay_as_they_are(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "r", "indices": ["*"], "fields": ["missing"]}]})
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "degraded; reason=no text: the fields hold no text in any hit"
    assert ids(answer) == list(range(10))


def test_a_refused_window_falls_back_to_the_callers_own_search(proxy: RunningProxy, engine: Engine) -> None:
    def reply(request: Received) -> Reply:
        return Reply(status=400, body=b"too large") if request.params.get("size") == "20" else engine.search(request)

    engine.reply = reply
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the engine refused the widened search with 400"
    assert ids(answer) == list(range(10))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_error_of_the_engine_is_answered_and_not_asked_for_twice(proxy: RunningProxy, engine: Engine, status: int) -> None:
    engine.reply = lambda _: Reply(status=status, body=b'{"error":"x"}')
    answer = proxy.search(SEARCH)
    assert (answer.status_code, answer.content, len(engine.received)) == (status, b'{"error":"x"}', 1)
    assert answer.headers["x-slimrank"] == f"passed; reason=the engine answered {status}"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"hits":{"hits":[1]}}', b'{"hits":3}', b"\xff", b'{"hits":{"hits":[{"_id":"1"}'])
def test_an_answer_that_makes_no_sense_is_passed_on(proxy: RunningProxy, engine: Engine, body: bytes) -> None:
    engine.reply = lambda _: Reply(body=body)
    answer = proxy.search(SEARCH)
    assert answer.content == body
    assert answer.headers["x-slimrank"].startswith("passed; reason=the answer")


def test_an_answer_longer_than_the_window_is_streamed_and_not_held(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_window_bytes=2048)
    engine.documents = [{"body": "red " * 1000} for _ in range(20)]
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the answer is longer than 2048 bytes"
    assert ids(answer) == list(range(10))


def test_a_request_longer_than_the_limit_is_streamed_and_not_held(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_request_bytes=2048)
    body = {**SEARCH, "post_filter": {"terms": {"n": list(range(5000))}}}
    answer = proxy.search(body)
    assert answer.headers["x-slimrank"] == "passed; reason=the request is longer than 2048 bytes"
    assert engine.received[0].json == body


def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_request_bytes=10_000)
    engine.reply = lambda _: Reply()
    packed = gzip.compress(b" " * 5_000_000)
    answer = proxy.http.post(
        "/products/_search", content=packed, headers={"content-type": "application/json", "content-encoding": "gzip"}
    )
    assert answer.headers["x-slimrank"] == "passed; reason=the request is compressed in another way than gzip, or too long"
    assert engine.received[0].body == packed


def test_too_many_searches_at_once_are_passed_on(start_proxy: StartProxy) -> None:
    proxy = start_proxy(max_running=1)
    proxy.scorer.seconds = 0.5
    marks: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: marks.append(httpx.post(proxy.url + "/products/_search", json=SEARCH).headers["x-slimrank"])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.count("degraded; reason=too many searches at once") == 3


def test_a_caller_who_hangs_up_stops_the_scoring(proxy: RunningProxy) -> None:
    proxy.scorer.seconds = 0.9
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(proxy.url + "/products/_search", json=SEARCH, timeout=0.3)
    deadline = time.monotonic() + 5
    while not proxy.scorer.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.scorer.cancelled == 1
