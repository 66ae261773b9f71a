"""A queue as long as a bad day makes it: every request is answered, once, and the gateway's memory stays bounded.

SLIMRANK_TEST_QUEUED=10000 pytest tests/serving/queue/test_long_queue.py      as many as are promised; 300 by default
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import time
from typing import Any, NamedTuple

import httpx
import pytest
import redis

from slimrank.engine import redis_clients
from slimrank.serving.queue import messages
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.test_queue import eventually

COUNT = int(os.environ.get("SLIMRANK_TEST_QUEUED", "300"))
WAVE = 100
CALLERS = 50
"""Of those that send the next request once they have an answer."""
QUEUE = redis_clients.KEY_PREFIX + messages.queue_name("fake")
MIB_A_THOUSAND = 40
"""What a thousand requests that wait may take in the gateway: a connection, a coroutine and a job each."""


class Answered(NamedTuple):
    """What a caller got."""

    status: int
    is_right: bool
    request_id: str
    degraded: str | None


def resident_mib(url: str) -> float:
    found = re.search(r"^process_resident_memory_bytes (\S+)", httpx.get(f"{url}/metrics", timeout=60).text, re.MULTILINE)
    assert found
    return float(found[1]) / 2**20


async def ask(client: httpx.AsyncClient, number: int, **fields: Any) -> Answered:
    """Send one request, whose document in the middle, first or last is the right one."""
    place = number % 3
    documents = [f"document {other}" for other in range(3)]
    documents[place] = f"this is request{number}"
    answer = await client.post("/v1/rerank", json={"query": f"request{number}", "documents": documents} | fields)
    body: dict[str, Any] = answer.json()
    is_right = answer.status_code == 200 and body["results"][0]["index"] == place
    return Answered(answer.status_code, is_right, body.get("id", ""), answer.headers.get("x-slimrank-degraded"))


async def ask_all(url: str, redis_url: str, store: redis.Redis) -> tuple[list[Answered], float]:
    """Send requests until all wait in the queue, then let a worker begin; return the answers and the memory while they waited."""

    async with contextlib.AsyncExitStack() as stack:
        asking: list[asyncio.Task[Answered]] = []
        while len(asking) < COUNT or await asyncio.to_thread(store.llen, QUEUE) < COUNT:
            await asyncio.to_thread(keep_alive, store)
            # In waves: a caller too busy to send what it began is cut off, as a slow sender should be.
            if len(asking) < COUNT and await asyncio.to_thread(store.llen, QUEUE) == len(asking):
                # A pool of its own for each: httpx looks at all connections of a pool for every request.
                client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=600, verify=False))
                wave = range(len(asking), min(COUNT, len(asking) + WAVE))
                asking += [asyncio.create_task(ask(client, number)) for number in wave]
            if early := [task.result() for task in asking if task.done()]:
                pytest.fail(f"answered before there was a worker: {early[0]}")
            await asyncio.sleep(0.05)
        waiting_mib = await asyncio.to_thread(resident_mib, url)
        with worker(redis_url=redis_url):
            return await asyncio.gather(*asking), waiting_mib


def keep_alive(store: redis.Redis) -> None:
    """Show a worker's sign of life where there is no worker yet, so that requests are let in."""
    store.set(messages.worker_key("ghost"), json.dumps({"model": "fake"}), px=30_000)
    store.sadd(messages.WORKERS_KEY, "ghost")


@pytest.mark.slow
@pytest.mark.redis
def test_every_request_of_a_long_queue_is_answered_once_and_rightly() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < COUNT + 200:
        pytest.skip(f"{COUNT} connections need as many open files, and {hard} are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, COUNT + 200), hard))
    limits = {"max_waiting": 2 * COUNT, "max_backlog_seconds": 3600, "timeout_seconds": 900}
    with running_redis() as url, redis.Redis.from_url(url) as store:
        keep_alive(store)
        with gateway(redis_url=url, wait_ready=False, **limits) as gate:
            before = resident_mib(gate)
            answers, waiting_mib = asyncio.run(ask_all(gate, url, store))
            metrics = httpx.get(f"{gate}/metrics", timeout=60).text
            eventually(lambda: not list(store.scan_iter(redis_clients.KEY_PREFIX + "job:*")))
            after = resident_mib(gate)
    assert {one.status for one in answers} == {200}
    assert all(one.is_right for one in answers)
    assert len({one.request_id for one in answers}) == COUNT
    assert f'slimrank_requests_total{{status="200"}} {COUNT}.0' in metrics
    print(f"{COUNT} waited: {before:.0f} MiB before, {waiting_mib:.0f} while they waited, {after:.0f} after")
    assert waiting_mib - before < 20 + MIB_A_THOUSAND * COUNT / 1000


async def offer_all(url: str) -> list[Answered]:
    """Send requests from many callers at once, each the next as soon as it has its answer; every second takes no error."""
    numbers = iter(range(COUNT))

    async def caller() -> list[Answered]:
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
            return [
                await ask(client, number, deadline_ms=10_000, on_failure="first_stage" if number % 2 else "error")
                for number in numbers
            ]

    return [one for own in await asyncio.gather(*(caller() for _ in range(CALLERS))) for one in own]


@pytest.mark.slow
@pytest.mark.redis
def test_of_more_requests_than_fit_each_is_answered_or_refused_and_counted() -> None:
    with running_redis() as url, worker(redis_url=url, fake_seconds=0.05), gateway(redis_url=url, max_waiting=10) as gate:
        before = resident_mib(gate)
        begin = time.monotonic()
        answers = asyncio.run(offer_all(gate))
        seconds = time.monotonic() - begin
        metrics = httpx.get(f"{gate}/metrics", timeout=60).text
        after = resident_mib(gate)
    full = [one for one in answers if one.status == 200 and not one.degraded]
    degraded = [one for one in answers if one.degraded]
    refused = [one for one in answers if one.status == 429]
    print(f"{COUNT} offered in {seconds:.0f} s: {len(full)} full, {len(degraded)} degraded, {len(refused)} x 429;"
          f" {before:.0f} MiB before, {after:.0f} after")  # fmt: skip
    assert len(answers) == COUNT == len(full) + len(degraded) + len(refused)
    assert full and degraded and refused
    assert all(one.is_right for one in full)
    assert {one.degraded for one in degraded} == {"overloaded"}
    assert f'slimrank_requests_total{{status="429"}} {len(refused)}.0' in metrics
    assert f'slimrank_degraded_total{{reason="overloaded"}} {len(degraded)}.0' in metrics
    assert after - before < 20 + MIB_A_THOUSAND * CALLERS / 1000
