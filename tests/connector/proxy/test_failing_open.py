"""After any failure the caller gets the first stage with a mark, and no limit is exceeded."""

import gzip
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from connector.proxy.upstream import Upstream
from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine, Received, Reply
from tests.connector.proxy.searches import SEARCH, ids


def test_if_the_scorer_is_down_the_answer_is_the_first_stage_with_a_mark(proxy: RunningProxy, engine: Engine) -> None:
    proxy.scorer.is_down = True
    direct = httpx.post(f"http://127.0.0.1:{engine.port}/products/_search", json={**SEARCH, "from": 3, "_source": ["title"]})
    answer = proxy.search({**SEARCH, "from": 3, "_source": ["title"]})
    assert answer.headers["x-slimrank"] == "degraded; reason=no scorer: no worker answers"
    assert answer.content == direct.content
    assert proxy.metric('slimrank_proxy_requests_total{outcome="degraded",reason="no scorer"} 1.0')


def test_the_proxy_does_not_wait_for_a_slow_scorer(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["*"], "fields": ["body"], "deadline_ms": 50}
    proxy = start_proxy({"rules": [rule]})
    proxy.scorer.seconds = 10
    begin = time.monotonic()
    answer = proxy.search(SEARCH)
    assert time.monotonic() - begin < 5
    assert answer.headers["x-slimrank"] == "degraded; reason=deadline: no scores within 50 ms"
    assert ids(answer) == list(range(10))
    assert proxy.scorer.cancelled == 1


def test_hits_not_scored_in_time_follow_in_first_stage_order_and_are_counted(proxy: RunningProxy) -> None:
    proxy.scorer.depth = 4
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "reranked; reason=rule products: 4 of 20 hits scored in time"
    assert ids(answer) == [3, 2, 1, 0, 4, 5, 6, 7, 8, 9]
    assert proxy.metric('slimrank_proxy_requests_total{outcome="reranked",reason="rule products"} 1.0')


def test_hits_without_text_are_not_changed(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "r", "indices": ["*"], "fields": ["missing"]}]})
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "degraded; reason=no text: the fields hold no text in any hit"
    assert ids(answer) == list(range(10))


def test_if_the_window_is_refused_the_callers_search_is_sent(proxy: RunningProxy, engine: Engine) -> None:
    def reply(request: Received) -> Reply:
        return Reply(status=400, body=b"too large") if request.params.get("size") == "20" else engine.search(request)

    engine.reply = reply
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the engine refused the widened search with 400"
    assert ids(answer) == list(range(10))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_error_of_the_engine_is_answered_without_a_second_request(proxy: RunningProxy, engine: Engine, status: int) -> None:
    engine.reply = lambda _: Reply(status=status, body=b'{"error":"x"}')
    answer = proxy.search(SEARCH)
    assert (answer.status_code, answer.content, len(engine.received)) == (status, b'{"error":"x"}', 1)
    assert answer.headers["x-slimrank"] == f"passed; reason=the engine answered {status}"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"hits":{"hits":[1]}}', b'{"hits":3}', b"\xff", b'{"hits":{"hits":[{"_id":"1"}'])
def test_an_invalid_answer_is_passed_on(proxy: RunningProxy, engine: Engine, body: bytes) -> None:
    engine.reply = lambda _: Reply(body=body)
    answer = proxy.search(SEARCH)
    assert answer.content == body
    assert answer.headers["x-slimrank"].startswith("passed; reason=the answer")


def test_an_answer_longer_than_the_limit_is_streamed_and_not_held_in_memory(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_window_bytes=2048)
    engine.documents = [{"body": "red " * 1000} for _ in range(20)]
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the answer is longer than 2048 bytes"
    assert ids(answer) == list(range(10))


def test_a_request_longer_than_the_limit_is_streamed_and_not_held_in_memory(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_request_bytes=2048)
    body = {**SEARCH, "post_filter": {"terms": {"n": list(range(5000))}}}
    answer = proxy.search(body)
    assert answer.headers["x-slimrank"] == "passed; reason=the request is longer than 2048 bytes"
    assert engine.received[0].json == body


def test_a_small_body_that_would_unpack_to_a_large_body_is_not_unpacked(start_proxy: StartProxy, engine: Engine) -> None:
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


def test_the_rule_limits_the_deadline_that_a_search_requests(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["products"], "fields": ["body"], "deadline_ms": 50}
    proxy = start_proxy({"rules": [rule], "max_deadline_ms": 100})
    proxy.scorer.seconds = 20
    patient = {**SEARCH, "ext": {"slimrank": {"deadline_ms": 600_000, "fields": ["body"]}}}
    for path, milliseconds in (("/products/_search", 50), ("/others/_search", 100)):
        begin = time.monotonic()
        answer = proxy.search(patient, path=path)
        assert answer.headers["x-slimrank"] == f"degraded; reason=deadline: no scores within {milliseconds} ms"
        assert time.monotonic() - begin < 5


def test_a_silent_engine_times_out_and_occupies_no_place(start_proxy: StartProxy, engine: Engine) -> None:
    silent = threading.Event()

    def reply(request: Received) -> Reply:
        if "silent" in request.target:
            silent.wait(20)
        return engine.search(request)

    engine.reply = reply
    upstream = Upstream(f"http://127.0.0.1:{engine.port}", silent_seconds=1.0)
    proxy = start_proxy(upstream=upstream, max_running=1)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(proxy.search, SEARCH, path="/products-silent/_search") for _ in range(3)]
        asked.append(pool.submit(proxy.http.get, "/_cat/silent"))
        time.sleep(0.3)
        assert proxy.search(SEARCH).headers["x-slimrank"].startswith("reranked")
        assert [answer.result().status_code for answer in asked] == [502] * 4
        silent.set()


def test_a_slow_window_releases_its_place(start_proxy: StartProxy, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.proxy.answering.WINDOW_SECONDS", 0.5)

    def reply(request: Received) -> Reply:
        whole = engine.search(request)
        if request.params.get("size") == "20":
            return Reply(chunks=[whole.body[:100], whole.body[100:]], before_chunk=lambda number: time.sleep(2 * number))
        return whole

    engine.reply = reply
    answer = start_proxy().search(SEARCH)
    assert answer.headers["x-slimrank"] == "degraded; reason=the window did not arrive in time"
    assert ids(answer) == list(range(10))


def test_the_bytes_of_all_windows_together_are_limited(start_proxy: StartProxy, engine: Engine) -> None:
    engine.documents = [{"title": "t", "body": "red " * 2000} for _ in range(20)]
    answer = start_proxy(max_windows_bytes=50_000).search(SEARCH)
    assert answer.headers["x-slimrank"] == "degraded; reason=too many bytes of windows at once"
    proxy = start_proxy(max_windows_bytes=500_000)
    for _ in range(5):  # the bytes of a finished window are free again
        assert proxy.search(SEARCH).headers["x-slimrank"].startswith("reranked")


def test_bodies_that_do_not_arrive_are_refused(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.proxy.exchange.BODY_SECONDS", 0.5)
    monkeypatch.setattr("connector.proxy.exchange.PIECE_SECONDS", 0.5)
    for path in (b"/products/_search", b"/products/_doc"):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as slow:
            slow.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
            assert slow.recv(65536) == b"", "the connection is closed"


@pytest.mark.parametrize("field", ["size", "from", "timeout", "min_score"])
def test_a_huge_number_is_left_for_the_engine_to_refuse(proxy: RunningProxy, engine: Engine, field: str) -> None:
    engine.reply = lambda _: Reply(status=400, body=b"{}")
    for number in ("1" + "0" * 400, "1" + "0" * 5000, "1e400"):
        body = f'{{"query": {{"match": {{"body": "red"}}}}, "{field}": {number}}}'
        headers = {"content-type": "application/json"}
        assert proxy.http.post("/products/_search", content=body, headers=headers).status_code == 400
        assert proxy.http.post(
            "/products/_search", content=f'{{"ext":{{"slimrank":{{"deadline_ms":{number}}}}}}}', headers=headers
        )
    assert proxy.http.get("/_slimrank/health").status_code == 200
