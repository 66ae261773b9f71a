"""A queue as long as a bad day makes it: every request is answered, once, and the gateway's memory stays bounded.

SLIMRANK_TEST_QUEUED=10000 pytest tests/serving/test_long_queue.py      as many as are promised; 300 by default
"""

import asyncio
import json
import os
import re
import resource
from typing import Any

import httpx
import pytest
import redis

from slimrank.serving import messages
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.test_queue import eventually

COUNT = int(os.environ.get("SLIMRANK_TEST_QUEUED", "300"))
WAVE = 100
QUEUE = messages.KEY_PREFIX + messages.queue_name("fake")
MIB_A_THOUSAND = 40
"""What a thousand requests that wait may take in the gateway: a connection, a coroutine and a job each."""


def resident_mib(url: str) -> float:
    found = re.search(r"^process_resident_memory_bytes (\S+)", httpx.get(f"{url}/metrics", timeout=60).text, re.MULTILINE)
    assert found
    return float(found[1]) / 2**20


async def ask_all(url: str, redis_url: str, store: redis.Redis) -> tuple[list[tuple[int, bool, str]], float]:
    """Send requests until all wait in the queue, then let a worker begin; return the answers and the memory while they waited."""

    async def ask(client: httpx.AsyncClient, number: int) -> tuple[int, bool, str]:
        place = number % 3
        documents = [f"document {other}" for other in range(3)]
        documents[place] = f"this is request{number}"
        answer = await client.post("/v1/rerank", json={"query": f"request{number}", "documents": documents})
        body: dict[str, Any] = answer.json()
        return answer.status_code, answer.status_code == 200 and body["results"][0]["index"] == place, body.get("id", "")

    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None)) as client:
        asking: list[asyncio.Task[tuple[int, bool, str]]] = []
        while len(asking) < COUNT or await asyncio.to_thread(store.llen, QUEUE) < COUNT:
            await asyncio.to_thread(keep_alive, store)
            # In waves: a caller too busy to send what it began is cut off, as a slow sender should be.
            if len(asking) < COUNT and await asyncio.to_thread(store.llen, QUEUE) == len(asking):
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
            eventually(lambda: not list(store.scan_iter(messages.KEY_PREFIX + "job:*")))
            after = resident_mib(gate)
    assert {status for status, _, _ in answers} == {200}
    assert all(is_right for _, is_right, _ in answers)
    assert len({request_id for _, _, request_id in answers}) == COUNT
    assert f'slimrank_requests_total{{status="200"}} {COUNT}.0' in metrics
    print(f"{COUNT} waited: {before:.0f} MiB before, {waiting_mib:.0f} while they waited, {after:.0f} after")
    assert waiting_mib - before < 20 + MIB_A_THOUSAND * COUNT / 1000
