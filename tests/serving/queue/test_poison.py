"""What lies in Redis need not be ours: it is dropped, counted, and stops neither worker nor gateway. Real processes."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from slimrank.engine import redis_clients
from slimrank.serving.queue import messages
from tests.nodes import process
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.test_queue import GOOD, eventually, post

pytestmark = [pytest.mark.slow, pytest.mark.redis]

QUEUE = redis_clients.KEY_PREFIX + messages.queue_name("fake")
DEEP = b"[" * 100_000
PROPERTIES = {
    "delivery_tag": "1",
    "body_encoding": "base64",
    "delivery_info": {"exchange": "", "routing_key": messages.queue_name("fake")},
}
HEADERS = {"task": messages.TASK_NAME, "id": "1", "lang": "py"}


def written(arguments: str = '[["x", "slimrank:reply:y"], {}, {}]', **fields: Any) -> bytes:
    """Return a message as kombu lays it into Redis, with other fields in place of its own."""
    body = base64.b64encode(arguments.encode()).decode()
    message = {"body": body, "content-encoding": "utf-8", "content-type": "application/json"}
    return json.dumps(message | {"headers": HEADERS, "properties": PROPERTIES} | fields).encode()


POISON = {
    "no-id": written(headers={"task": messages.TASK_NAME}),
    "an-id-of-nothing": written(headers=HEADERS | {"id": None}),
    "an-id-that-is-a-list": written(headers=HEADERS | {"id": [1]}),
    "no-headers": written(headers=None),
    "headers-that-are-a-list": written(headers=[1]),
    "another-task": written(headers=HEADERS | {"task": "os.system"}),
    "a-task-that-is-a-list": written(headers=HEADERS | {"task": ["a"]}),
    "never": written(headers=HEADERS | {"eta": "never"}),
    "no-properties": written(properties={}),
    "properties-that-are-a-list": written(properties=[]),
    "another-encoding": written(properties=PROPERTIES | {"body_encoding": "zzz"}),
    "pickle": written(**{"content-type": "application/x-python-serialize"}),
    "no-arguments": written("[[], {}, {}]"),
    "too-many-arguments": written("[[1, 2, 3, 4, 5], {}, {}]"),
    "arguments-of-other-kinds": written('[[[1], {"a": 1}], {}, {}]'),
    "an-answer-to-elsewhere": written('[["x", "slimrank:workers"], {}, {}]'),
    "arguments-that-are-an-object": written("{}"),
    "deep": DEEP,
    "garbage": b"\xff\x00garbage",
    "empty": b"{}",
    "a-number": b"5",
    "null": b"null",
}
BECOME_TASKS = {
    "an-id-of-nothing", "an-id-that-is-a-list", "no-properties",
    "no-arguments", "too-many-arguments", "arguments-that-are-an-object",
}  # fmt: skip
"""Celery makes tasks of these; they ask for a job that is not there, or end in its log."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str, redis.Redis]]:
    """Yield a gateway's URL, its worker's metrics' and the Redis between them."""
    port = process.free_port()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_redis())
        stack.enter_context(worker(redis_url=url, metrics_port=port))
        gate = stack.enter_context(gateway(redis_url=url))
        store = stack.enter_context(redis.Redis.from_url(url))
        assert isinstance(store, redis.Redis)
        yield gate, f"http://127.0.0.1:{port}/metrics", store


def dropped(metrics: str, what: str) -> float:
    """Return how many messages a process says that it dropped."""
    lines = httpx.get(metrics).text.splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith(f'slimrank_dropped_messages_total{{what="{what}"')
    )


@pytest.mark.parametrize("name", POISON)
def test_a_message_that_is_not_ours_holds_nobody_up_and_comes_once(name: str, served: tuple[str, str, redis.Redis]) -> None:
    gate, metrics, store = served
    before = dropped(metrics, "task")
    store.lpush(QUEUE, *[POISON[name]] * 20)
    begin = time.monotonic()
    assert post(gate, GOOD | {"deadline_ms": 8000}).status_code == 200
    assert time.monotonic() - begin < 4, "each of them would have the consumer begin anew"
    eventually(lambda: store.llen(QUEUE) == 0 and store.hlen(redis_clients.KEY_PREFIX + "unacked") == 0)
    if name not in BECOME_TASKS:
        eventually(lambda: dropped(metrics, "task") == before + 20, seconds=5)


def gateway_ids(store: redis.Redis) -> list[str]:
    return [key.decode().rpartition(":")[2] for key in store.keys(redis_clients.KEY_PREFIX + "gateway:*")]


def test_a_reply_that_is_not_ours_stops_no_reader_and_is_counted(served: tuple[str, str, redis.Redis]) -> None:
    gate, _, store = served
    before = dropped(f"{gate}/metrics", "reply")
    poison = [
        DEEP,
        b"garbage",
        b"[]",
        b'{"id": 5}',
        b'{"scores": "x"}',
        b"\xff",
        b'{"id": "x", "claimed_by": [1]}',
        b"1" * 100_000,
    ]
    (gateway_id,) = gateway_ids(store)
    store.rpush(messages.reply_key(gateway_id), *poison)
    eventually(lambda: dropped(f"{gate}/metrics", "reply") == before + len(poison), seconds=10)
    assert all(post(gate).status_code == 200 for _ in range(3))
    assert httpx.get(f"{gate}/healthz").status_code == 200


def test_an_unreadable_sign_of_life_stops_no_watcher_and_is_counted(served: tuple[str, str, redis.Redis]) -> None:
    gate, _, store = served
    before = dropped(f"{gate}/metrics", "sign of life")
    signs = [DEEP, b"{}", b"[]", b"5", b"null", b'{"model": 5}', b'{"model": [1]}', b'{"model": ""}', b"\xff", b'"fake"']
    for place, sign in enumerate(signs):
        store.set(messages.worker_key(f"odd{place}"), sign, px=60_000)
        store.sadd(messages.WORKERS_KEY, f"odd{place}")
        store.set(messages.gateway_key(f"odd{place}"), sign, px=60_000)
        store.sadd(messages.GATEWAYS_KEY, f"odd{place}")
    store.sadd(messages.WORKERS_KEY, b"\xff\xfe")
    store.set(messages.gateway_key("late"), json.dumps({"fake": {"a": [1e308, -5, "x", None]}, "b": [1], "c": 3}), px=60_000)
    store.sadd(messages.GATEWAYS_KEY, "late")
    eventually(lambda: dropped(f"{gate}/metrics", "sign of life") >= before + len(signs), seconds=10)
    assert all(post(gate).status_code == 200 for _ in range(3))
    assert 'slimrank_workers{model="fake"} 1.0' in httpx.get(f"{gate}/metrics").text
    assert httpx.get(f"{gate}/healthz").status_code == 200


def test_an_answer_that_cannot_be_read_fails_its_own_request_at_once(served: tuple[str, str, redis.Redis]) -> None:
    gate, _, store = served
    store.set(messages.worker_key("mute"), json.dumps({"model": "mute"}), px=60_000)
    store.sadd(messages.WORKERS_KEY, "mute")
    queue = redis_clients.KEY_PREFIX + messages.queue_name("mute")
    eventually(lambda: 'slimrank_workers{model="mute"} 1.0' in httpx.get(f"{gate}/metrics").text)
    for fields in ('"scores": [1.0], "truncated": []', '"scores": "x"', '"error": 5', '"error": {"type": []}'):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(post, gate, GOOD | {"model": "mute"})
            eventually(lambda: store.llen(queue) > 0)
            arguments = json.loads(base64.b64decode(json.loads(store.rpop(queue))["body"]))[0]
            store.rpush(arguments[1], f'{{"id": "{arguments[0]}", {fields}}}')
            answer = asked.result()
        assert answer.status_code == 500, fields
        assert "cannot be read" in answer.json()["message"]
