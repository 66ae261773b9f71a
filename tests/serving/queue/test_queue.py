"""The same requests through a real Redis and a real worker process, and what a gateway says when either is down."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from slimrank.engine import redis_clients
from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.queue import messages
from tests.doubles import FakeScorer
from tests.nodes import process
from tests.nodes.redis import running_redis
from tests.serving.conftest import over
from tests.serving.process import gateway, worker

pytestmark = pytest.mark.redis

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    """Yield the URL of a gateway with one worker behind it."""
    with worker(redis_url=redis_url), gateway(redis_url=redis_url) as url:
        yield url


def post(url: str, body: Any = GOOD, **options: Any) -> httpx.Response:
    return process.HTTP.post(f"{url}/v1/rerank", json=body, **options)


def are_taken(store: redis.Redis, count: int) -> bool:
    """Tell whether a worker of the model "fake" has taken this many requests, none of them answered yet.

    A job is written before its message is sent, and a message leaves the queue before its task begins: what looks taken
    must look so a moment later too.
    """

    def look() -> bool:
        on_their_way = store.llen(redis_clients.KEY_PREFIX + messages.queue_name("fake")) + store.hlen(
            redis_clients.KEY_PREFIX + "unacked"
        )
        return on_their_way == 0 and len(list(store.scan_iter(redis_clients.KEY_PREFIX + "job:*"))) == count

    if not look():
        return False
    time.sleep(0.2)
    return look()


def eventually(claim: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "this did not become true in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        GOOD | {"raw_scores": True, "top_n": 2},
        GOOD | {"documents": ["word " * 500, "", "pipe", "lone \ud800", {"text": "\x00 </s>"}], "return_documents": True},
        GOOD | {"instruction": "prefer gold"},
        {"query": "lead pipe", "texts": ["a", "pipe"]},
        {"query": "fail", "documents": ["a"]},
        {"query": "", "documents": ["a"]},
    ],
    ids=["plain", "raw", "odd", "instruction", "tei", "fail", "empty"],
)
def test_the_answer_is_the_same_embedded_and_through_the_queue(client: httpx.Client, url: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    embedded, queued = client.post("/v1/rerank", content=content), httpx.post(f"{url}/v1/rerank", content=content)
    assert embedded.status_code == queued.status_code
    first, second = embedded.json(), queued.json()
    for answer in (first, second):
        if isinstance(answer, dict):
            answer.pop("id", None)
    assert first == second


def test_a_fault_in_the_worker_is_answered_without_its_cause(url: str) -> None:
    answer = post(url, {"query": "fault", "documents": ["a"]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert post(url).status_code == 200


def test_many_requests_at_once_each_get_their_own_answer(url: str) -> None:
    def ask(number: int) -> bool:
        documents = [f"word{number} here", "nothing", f"word{number + 1}"]
        results = post(url, {"query": f"word{number}", "documents": documents}).json()["results"]
        return results[0]["index"] == 0

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


def test_nothing_is_left_in_redis_after_an_answer(url: str, redis_url: str) -> None:
    post(url)
    with redis.Redis.from_url(redis_url) as store:
        eventually(lambda: not list(store.scan_iter(redis_clients.KEY_PREFIX + "job:*")))
        assert not list(store.scan_iter(redis_clients.KEY_PREFIX + "reply:*"))
        assert all(key.startswith(redis_clients.KEY_PREFIX.encode()) for key in store.scan_iter())


def test_no_text_and_no_pickle_is_in_the_message(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.set(messages.worker_key("silent"), json.dumps({"model": "silent"}), px=60_000)
        store.sadd(messages.WORKERS_KEY, "silent")
        queue = redis_clients.KEY_PREFIX + messages.queue_name("silent")
        with gateway(redis_url=redis_url, timeout_seconds=1, wait_ready=False) as silent:
            # the deadline of the first may pass before it is sent
            eventually(lambda: post(silent, GOOD | {"model": "silent"}).status_code == 504 and store.llen(queue) > 0)
            raw = store.lindex(queue, 0)
        store.delete(messages.worker_key("silent"), queue)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert b"pipe" not in raw


def test_without_a_worker_the_gateway_says_so_at_once() -> None:
    with running_redis() as url, gateway(redis_url=url, wait_ready=False) as lonely:
        begin = time.monotonic()
        answer = post(lonely)
        assert answer.status_code == 503
        assert "start one with `slimrank worker`" in answer.json()["message"]
        assert answer.headers["retry-after"] == "1"
        assert time.monotonic() - begin < 3
        assert httpx.get(f"{lonely}/readyz").status_code == 503
        assert httpx.get(f"{lonely}/healthz").status_code == 200


def test_without_redis_the_gateway_says_so_and_shows_no_password() -> None:
    with gateway(redis_url=f"redis://me:hidden@127.0.0.1:{process.free_port()}/0", wait_ready=False) as lonely:
        answer = post(lonely)
        assert answer.status_code == 503
        assert re.search(r"Redis at 127.0.0.1:\d+ does not answer; start it", answer.json()["message"])
        assert "hidden" not in answer.text


def test_a_worker_without_redis_ends_with_one_clear_line() -> None:
    settings = {"SLIMRANK_REDIS_URL": f"redis://127.0.0.1:{process.free_port()}/0", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "tests.serving.process", "worker"], env=settings, capture_output=True, text=True, check=False
    )
    assert re.search(r"Redis at 127\.0\.0\.1:\d+ does not answer", done.stderr.splitlines()[-1])
    assert done.returncode != 0


def test_a_deadline_is_kept_to_fractions_of_a_second(redis_url: str) -> None:
    with (
        worker(redis_url=redis_url, fake_model="sleepy", fake_seconds=5),
        gateway(redis_url=redis_url, timeout_seconds=0.3, wait_ready=False) as url,
    ):
        eventually(lambda: post(url, GOOD | {"model": "sleepy"}).status_code == 504)
        begin = time.monotonic()
        answer = post(url, GOOD | {"model": "sleepy"})
        assert answer.status_code == 504
        assert time.monotonic() - begin < 2


def test_a_worker_that_is_told_to_end_finishes_what_it_has() -> None:
    with (
        running_redis() as redis_url,
        worker(redis_url=redis_url, fake_seconds=1) as running,
        gateway(redis_url=redis_url) as url,
    ):
        with ThreadPoolExecutor(3) as pool, redis.Redis.from_url(redis_url) as store:
            answers = [pool.submit(post, url) for _ in range(3)]
            eventually(lambda: are_taken(store, 3))
            running.send_signal(signal.SIGTERM)
            assert [answer.result().status_code for answer in answers] == [200] * 3
        assert running.wait(timeout=20) == 0


def test_what_waits_when_the_last_worker_dies_is_failed_before_its_deadline() -> None:
    with running_redis() as redis_url, worker(redis_url=redis_url, fake_seconds=3) as last, gateway(redis_url=redis_url) as url:
        with ThreadPoolExecutor(1) as pool, redis.Redis.from_url(redis_url) as store:
            answer = pool.submit(post, url)
            eventually(lambda: are_taken(store, 1))
            last.send_signal(signal.SIGKILL)
            assert answer.result().status_code == 503
        assert "the last worker of fake is gone" in answer.result().json()["message"]


def test_a_job_of_a_killed_worker_is_sent_again_and_answered_once() -> None:
    with (
        running_redis() as redis_url,
        worker(redis_url=redis_url, fake_seconds=1) as first,
        gateway(redis_url=redis_url) as url,
        ThreadPoolExecutor(4) as pool,
        redis.Redis.from_url(redis_url) as store,
    ):
        answers = [pool.submit(post, url) for _ in range(3)]
        eventually(lambda: are_taken(store, 3))
        with worker(redis_url=redis_url):
            first.send_signal(signal.SIGKILL)
            assert [answer.result().status_code for answer in answers] == [200] * 3


def test_the_embedded_backend_needs_no_redis() -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), redis_url="redis://127.0.0.1:1/0") as client:
        assert client.post("/v1/rerank", json=GOOD).status_code == 200
