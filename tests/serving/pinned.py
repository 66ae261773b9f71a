"""One worker on a core of its own, everything else on another, and what that worker can do: for load and saturation.

Redis, the gateway and the load's generator share the last core; the worker's model keeps the first to itself, so that what
is measured is the worker and not the fight for its core.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from slimrank.bench.load import LoadPlan, Tally, Texts, ask
from tests.nodes import process
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker

ASKERS = 3
"""Enough that a worker never waits for the next request, few enough that none waits for long."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """Where the gateway answers, and where it and its worker show their metrics."""

    url: str
    worker_url: str

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return what gateway and worker count: process -> name with labels -> value."""
        pages = {"gateway": f"{self.url}/metrics", "worker": f"{self.worker_url}/metrics"}
        lines = {name: process.HTTP.get(page).text.splitlines() for name, page in pages.items()}
        return {
            name: {key: float(value) for key, _, value in (line.rpartition(" ") for line in found if line[:1] != "#")}
            for name, found in lines.items()
        }


@contextlib.contextmanager
def pinned(model: Path | None, *, fake_seconds: float) -> Iterator[Pinned]:
    """Run Redis, a gateway and a worker.

    Args:
        model: The model folder; None = a scorer that sleeps ``fake_seconds`` a request.
    """
    cores = sorted(os.sched_getaffinity(0))
    fake, port = model is None, process.free_port()
    settings: dict[str, Any] = {"fake_seconds": fake_seconds} if fake else {"model": model, "threads": 1}
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {cores[-1]})  # inherited by what is started here
        stack.callback(os.sched_setaffinity, 0, cores)
        url = stack.enter_context(running_redis())
        os.sched_setaffinity(0, {cores[0]})
        stack.enter_context(worker(redis_url=url, fake=fake, metrics_port=port, **settings))
        os.sched_setaffinity(0, {cores[-1]})
        yield Pinned(stack.enter_context(gateway(redis_url=url, fake=fake)), f"http://127.0.0.1:{port}")


async def best_rate(plan: LoadPlan, *, seconds: float) -> float:
    """Return the full answers a second to callers who each ask again as soon as they are answered."""
    tally, texts = Tally(), Texts(random.Random(plan.seed), characters=plan.characters, count=2 * max(plan.sizes))
    chance, begin = random.Random(plan.seed), time.monotonic()

    async def ask_on(client: httpx.AsyncClient) -> None:
        while time.monotonic() - begin < seconds:
            body = texts.body(chance.choice(plan.sizes)) | {"return_documents": True, "deadline_ms": 60_000}
            await ask(client, body, tally)

    async with httpx.AsyncClient(base_url=plan.url, timeout=90) as client:
        await asyncio.gather(*(ask_on(client) for _ in range(ASKERS)))
    return len(tally.full()) / (time.monotonic() - begin)
