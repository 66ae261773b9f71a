"""``slimrank bench queue``: how much longer a request takes through the queue than in an embedded gateway.

The processes and Redis are real, and the scorer takes no time. So what is measured is the way of a request and of its answer.
This file starts itself for each process of the comparison: ``python -m slimrank.bench.queue_cost worker | gateway``.
"""

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import httpx
import numpy as np

from slimrank import settings as process_settings
from slimrank.bench.load import Texts, percentiles
from slimrank.errors import ModelNotReady
from slimrank.types import Scored

START_SECONDS = 60.0


class InstantScorer:
    """A scorer that takes no time: a score is a number made from the length of the document."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return one score for each document."""
        scores = np.asarray([len(document) % 97 for document in documents], dtype=np.float32)
        return Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, len(documents))


def compare_ways(*, characters: int, count: int = 100, rounds: int = 300) -> dict[str, Any]:
    """Ask an embedded gateway and one with a queue in turns.

    ``SLIMRANK_REDIS_URL`` names the Redis of the queue.
    """
    body = Texts(random.Random(0), characters=characters, count=count).body(count)
    ports = _free_port(), _free_port()
    seconds: dict[str, list[float]] = {"embedded": [], "queued": []}
    with (
        _process("worker"),
        _process("gateway", SLIMRANK_PORT=ports[0], SLIMRANK_EMBEDDED=1),
        _process("gateway", SLIMRANK_PORT=ports[1]),
        httpx.Client(timeout=30) as client,
    ):
        urls = dict(zip(seconds, (f"http://127.0.0.1:{port}" for port in ports), strict=True))
        for url in urls.values():
            _wait_ready(client, url)
        for turn in range(rounds + 20):
            for way, url in urls.items():
                begin = time.perf_counter()
                client.post(f"{url}/v1/rerank", json=body).raise_for_status()
                if turn >= 20:  # the first requests open connections
                    seconds[way].append(time.perf_counter() - begin)
    report: dict[str, Any] = {way: {"min": round(1000 * min(v), 2)} | percentiles(v) for way, v in seconds.items()}
    extra = [queued - embedded for embedded, queued in zip(seconds["embedded"], seconds["queued"], strict=True)]
    report["queue_costs_ms"] = {"median_of_pairs": round(1000 * median(extra), 2)}
    return {"documents": count, "characters": characters, "rounds": rounds} | report


def _wait_ready(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if client.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.2)
    raise ModelNotReady(f"{url} was not ready within {START_SECONDS:g} s; is Redis running at SLIMRANK_REDIS_URL?")


@contextlib.contextmanager
def _process(role: str, **variables: object) -> Iterator[None]:
    env = os.environ | {"SLIMRANK_LOG_LEVEL": "error"} | {name: str(value) for name, value in variables.items()}
    running = subprocess.Popen([sys.executable, "-m", "slimrank.bench.queue_cost", role], env=env)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(role: str) -> None:
    """Run one process of the comparison."""
    from slimrank.engine.model import Model
    from slimrank.identity import ModelIdentity
    from slimrank.serving.gateway.server import run_gateway
    from slimrank.serving.queue.worker import run_worker
    from slimrank.telemetry import configure_logging

    settings, model = process_settings.load(), Model(ModelIdentity("instant"), InstantScorer())
    configure_logging(settings.log_level)
    if role == "worker":
        run_worker(settings, model)
    else:
        run_gateway(settings, model if settings.embedded else None)


if __name__ == "__main__":
    main(sys.argv[1])
