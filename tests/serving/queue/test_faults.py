"""What breaks in production, broken on purpose with real processes: nothing is lost, nobody waits past the deadline."""

import contextlib
import json
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis

from slimrank.engine import redis_clients
from slimrank.engine.jobs import Answer
from slimrank.identity import ModelIdentity
from slimrank.serving.queue import messages
from slimrank.types import Scored
from tests.nodes import process
from tests.nodes.redis import answers, running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.slow_proxy import SlowProxy, slow_proxy
from tests.serving.queue.test_queue import GOOD, are_taken, eventually, post

pytestmark = [pytest.mark.slow, pytest.mark.redis]


def port_of(redis_url: str) -> int:
    found = re.search(r":(\d+)/", redis_url)
    assert found
    return int(found[1])


@contextlib.contextmanager
def redis_at(port: int, folder: Path) -> Iterator[None]:
    """Run a Redis of its own at a fixed port."""
    folder.mkdir()
    server = shutil.which("redis-server") or "redis-server"
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    url = f"redis://127.0.0.1:{port}/0"
    with process.running(command, folder=folder, is_up=lambda: answers(url), timeout_seconds=20):
        yield


@contextlib.contextmanager
def behind_proxy() -> Iterator[tuple[str, SlowProxy]]:
    """Run a gateway that reaches Redis through a proxy; yield its URL and the proxy."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_redis())
        stack.enter_context(worker(redis_url=url))
        proxy = stack.enter_context(slow_proxy(port_of(url)))
        yield stack.enter_context(gateway(redis_url=f"redis://127.0.0.1:{proxy.port}/0")), proxy


class Load:
    """Callers that go on asking until they are stopped; every answer is kept.

    Args:
        url: The gateway; given another later, callers turn to that one.
    """

    def __init__(self, url: str, callers: int = 4, **fields: Any) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.answers: list[tuple[str, dict[str, Any]]] = []
        """Queries and the bodies of their answers, where the status was 200."""
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(fields, name)) for name in range(callers)]

    def _ask(self, fields: dict[str, Any], name: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            query = f"caller{name} request{number}"
            answer = post(self.url, {"query": query, "documents": ["nothing", f"this is {query}", "more nothing"]} | fields)
            if answer.status_code == 200:
                self.answers.append((query, answer.json()))
            self.statuses.append(answer.status_code)

    @property
    def wrong(self) -> int:
        """How many answers of the fake model put another's document first."""
        return sum(answer["results"][0]["index"] != 1 for _, answer in self.answers)

    def wait_for(self, more: int) -> None:
        """Wait until this many more answers have come."""
        wanted = len(self.statuses) + more
        eventually(lambda: len(self.statuses) >= wanted, seconds=60)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def test_redis_restarted_is_found_again_by_gateway_and_worker(tmp_path: Path) -> None:
    port = process.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with contextlib.ExitStack() as stack:
        with redis_at(port, tmp_path / "first"):
            stack.enter_context(worker(redis_url=url))
            gate = stack.enter_context(gateway(redis_url=url))
            assert post(gate).status_code == 200
        begin = time.monotonic()
        answer = post(gate)
        assert answer.status_code == 503
        assert time.monotonic() - begin < 6
        degraded = post(gate, GOOD | {"on_failure": "first_stage"})
        assert (degraded.status_code, degraded.headers["x-slimrank-degraded"]) == (200, "unavailable")
        with redis_at(port, tmp_path / "second"):
            eventually(lambda: post(gate).status_code == 200, seconds=60)


def test_a_full_redis_is_an_overload_and_passes() -> None:
    with running_redis() as url, worker(redis_url=url), gateway(redis_url=url) as gate, redis.Redis.from_url(url) as store:
        store.config_set("maxmemory-policy", "noeviction")
        store.config_set("maxmemory", "1mb")
        answer = post(gate, GOOD | {"documents": ["x" * 100_000] * 3})
        assert answer.status_code == 429
        assert "is full" in answer.json()["message"]
        store.config_set("maxmemory", "0")
        eventually(lambda: post(gate).status_code == 200)


def test_a_slow_redis_costs_no_caller_more_than_the_deadline() -> None:
    with behind_proxy() as (gate, proxy):
        assert post(gate).status_code == 200
        proxy.delay_seconds = 0.4
        for _ in range(3):
            begin = time.monotonic()
            answer = post(gate, GOOD | {"deadline_ms": 300, "on_failure": "first_stage"})
            assert time.monotonic() - begin < 1.5
            assert answer.status_code == 200 and answer.headers["x-slimrank-degraded"]
        proxy.delay_seconds = 0.0
        eventually(lambda: post(gate).status_code == 200)


def test_cut_connections_lose_nothing_for_long() -> None:
    with behind_proxy() as (gate, proxy):
        with Load(gate, callers=2) as load:
            for _ in range(5):
                load.wait_for(5)
                proxy.cut()
        eventually(lambda: post(gate).status_code == 200)
    assert set(load.statuses) <= {200, 503}
    # a request may lose its connection twice; it is never wrong, and never lost
    assert load.statuses.count(503) <= 5 * 2
    assert load.wrong == 0


def test_a_gateway_told_to_end_answers_what_it_has(redis_url: str) -> None:
    port = process.free_port()
    is_up = f"http://127.0.0.1:{port}"
    with worker(redis_url=redis_url, fake_model="drain", fake_seconds=0.5), ThreadPoolExecutor(6) as pool:
        with gateway(redis_url=redis_url, port=port) as gate:
            eventually(lambda: post(gate, GOOD | {"model": "drain"}).status_code == 200)
            waiting = [pool.submit(post, is_up, GOOD | {"model": "drain"}) for _ in range(6)]
            eventually(lambda: "slimrank_waiting_requests 6.0" in httpx.get(f"{gate}/metrics").text)
        # leaving the block sent SIGTERM and waited
        assert [answer.result().status_code for answer in waiting] == [200] * 6


def test_a_stopped_worker_is_noticed_and_its_work_done_by_another() -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_redis())
        first = stack.enter_context(worker(redis_url=url, fake_seconds=1))
        gate = stack.enter_context(gateway(redis_url=url))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        store = stack.enter_context(redis.Redis.from_url(url))
        waiting = [pool.submit(post, gate) for _ in range(2)]
        eventually(lambda: are_taken(store, 2))
        first.send_signal(signal.SIGSTOP)
        stack.callback(first.send_signal, signal.SIGCONT)
        stack.enter_context(worker(redis_url=url))
        assert [answer.result().status_code for answer in waiting] == [200] * 2


def test_a_lone_hung_worker_makes_nobody_wait_past_the_deadline() -> None:
    with running_redis() as url, worker(redis_url=url) as lone, gateway(redis_url=url) as gate:
        lone.send_signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert post(gate, GOOD | {"deadline_ms": 500}).status_code in (503, 504)
            assert time.monotonic() - begin < 2
            eventually(lambda: post(gate, GOOD | {"deadline_ms": 500}).status_code == 503)
        finally:
            lone.send_signal(signal.SIGCONT)
        eventually(lambda: post(gate).status_code == 200)


@pytest.mark.parametrize(
    "poison",
    [
        b"garbage",
        b"{}",
        json.dumps({"body": "%%%", "headers": {}, "properties": {}, "content-type": "application/x-python-serialize"}).encode(),
        json.dumps({"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json",
                    "headers": {"task": "os.system", "id": "1"},
                    "properties": {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {}}}).encode(),
    ],
    ids=["garbage", "empty", "pickle", "unknown-task"],
)  # fmt: skip
def test_a_poisoned_message_stops_nothing(poison: bytes) -> None:
    with running_redis() as url, worker(redis_url=url), gateway(redis_url=url) as gate, redis.Redis.from_url(url) as store:
        store.lpush(redis_clients.KEY_PREFIX + messages.queue_name("fake"), poison)
        eventually(lambda: post(gate, GOOD | {"deadline_ms": 3000}).status_code == 200, seconds=60)
        assert all(post(gate).status_code == 200 for _ in range(5))


def test_a_poisoned_job_or_reply_is_an_error_of_its_own() -> None:
    with running_redis() as url, worker(redis_url=url), gateway(redis_url=url) as gate, redis.Redis.from_url(url) as store:
        for key in store.keys(redis_clients.KEY_PREFIX + "gateway:*"):
            reply_to = messages.reply_key(key.decode().rpartition(":")[2])
            for poison in (b"garbage", b"[]", b'{"id": 5}', b'{"scores": "x"}', b"\xff"):
                store.rpush(reply_to, poison)
        assert all(post(gate).status_code == 200 for _ in range(5))


def test_a_reply_that_was_cut_off_on_its_way_is_read_again() -> None:
    with contextlib.ExitStack() as stack:
        gate, proxy = stack.enter_context(behind_proxy())
        pool = stack.enter_context(ThreadPoolExecutor(1))
        store = stack.enter_context(redis.Redis.from_url(f"redis://127.0.0.1:{proxy.target_port}/0"))
        (key,) = store.keys(redis_clients.KEY_PREFIX + "gateway:*")
        taken = messages.reply_key(key.decode().rpartition(":")[2]) + ":taken"
        store.set(messages.worker_key("mute"), json.dumps({"model": "mute"}), px=120_000)
        store.sadd(messages.WORKERS_KEY, "mute")
        queue = redis_clients.KEY_PREFIX + messages.queue_name("mute")
        eventually(lambda: 'slimrank_workers{model="mute"} 1.0' in httpx.get(f"{gate}/metrics").text)
        waiting = pool.submit(post, gate, GOOD | {"model": "mute", "deadline_ms": 25_000})
        eventually(lambda: bool(store.llen(queue)))
        request_id = re.search(r"\b[0-9a-f]{32}\b", json.loads(store.lindex(queue, 0))["headers"]["argsrepr"])[0]
        scored = Scored(
            np.zeros(len(GOOD["documents"]), dtype=np.float32), np.zeros(len(GOOD["documents"]), dtype=np.bool_), False, 3
        )
        # As it lies in Redis when the connection goes between taking it aside and its arrival.
        store.rpush(taken, messages.encode_answer(request_id, Answer(scored, ModelIdentity("mute"))))
        proxy.cut()
        answer = waiting.result()
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "mute"


def test_ten_thousand_expired_requests_are_passed_over_while_fresh_ones_meet_their_deadlines() -> None:
    def seconds_to_answer(_: int) -> float:
        begin = time.monotonic()
        assert post(gate, GOOD | {"deadline_ms": 1000, "on_failure": "first_stage"}).status_code == 200
        return time.monotonic() - begin

    with (
        running_redis() as url,
        gateway(redis_url=url, wait_ready=False, timeout_seconds=120) as gate,
        redis.Redis.from_url(url) as store,
        ThreadPoolExecutor(9) as pool,
    ):
        store.set(messages.worker_key("ghost"), json.dumps({"model": "fake"}), px=180_000)
        store.sadd(messages.WORKERS_KEY, "ghost")
        eventually(lambda: post(gate, GOOD | {"deadline_ms": 300}).status_code == 504)
        queue = redis_clients.KEY_PREFIX + messages.queue_name("fake")
        message = store.lindex(queue, 0)
        store.rpush(queue, *[message] * 10_000)
        patient = pool.submit(post, gate, timeout=130)
        eventually(lambda: store.llen(queue) > 10_001)
        with worker(redis_url=url):
            eventually(lambda: 'slimrank_workers{model="fake"} 2.0' in httpx.get(f"{gate}/metrics").text)
            waits = list(pool.map(seconds_to_answer, range(8)))
            assert patient.result().status_code == 200  # behind all of them, and within its 120 s
            eventually(lambda: store.llen(queue) == 0)
    assert max(waits) < 2.5


def test_slow_senders_are_cut_off_and_hold_up_nobody(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimrank.serving.gateway.protocol.HEAD_SECONDS", 1.0)
    monkeypatch.setattr("slimrank.serving.gateway.intake.BODY_SECONDS", 1.0)
    with contextlib.ExitStack() as stack:
        slow = []
        for head in (b"POST /v1/re", b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"):
            for _ in range(50):
                connection = stack.enter_context(socket.create_connection((client.base_url.host, client.base_url.port)))
                connection.sendall(head)
                slow.append(connection)
        begin = time.monotonic()
        assert client.post("/v1/rerank", json=GOOD).status_code == 200
        assert time.monotonic() - begin < 0.95
        for connection in slow:
            connection.settimeout(5)
            received = connection.recv(65536)
            assert received == b"" or received.startswith(b"HTTP/1.1 408")


def test_the_redis_user_of_the_documentation_is_enough_and_can_do_no_more() -> None:
    text = (Path(__file__).parent.parent.parent.parent / "SECURITY.md").read_text(encoding="utf-8")
    rules = re.search(r"ACL SETUSER (.+)", text)
    assert rules
    with running_redis() as url, redis.Redis.from_url(url) as store:
        store.execute_command("ACL SETUSER", *rules[1].replace(">PASSWORD", ">secret").split())
        mine = url.replace("redis://", "redis://slimrank:secret@")
        with worker(redis_url=mine), gateway(redis_url=mine, wait_ready=False) as gate:
            eventually(lambda: post(gate).status_code == 200)
        assert store.execute_command("ACL LOG") == []
        with redis.Redis.from_url(mine) as limited:
            for command in ("FLUSHALL", "CONFIG GET *", "SET other 1", "GET other", "KEYS *"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    limited.execute_command(*command.split())
