"""A proxy on a real port, in front of an engine that records raw bytes."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn

from connector.proxy.answering import Parts
from connector.proxy.app import Proxy
from connector.proxy.metrics import Metrics
from connector.proxy.rules import Rules
from connector.proxy.shadow import Shadow
from connector.proxy.upstream import Upstream
from connector.window_cache import AS_SET, Part
from slimrank.errors import ModelNotReady
from slimrank.scoring import only_first
from slimrank.serving.gateway.protocol import options
from slimrank.types import Scored
from tests.connector.proxy.engine import Engine


class CountingScorer:
    """Scores a document by how often it contains the query; the answer takes ``seconds``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.is_down = False
        self.depth: int | None = None  # how many documents are scored in time; None means all
        self.asked: list[tuple[str, list[str], str | None]] = []
        self.parts: list[Part] = []
        self.cancelled = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None,
        timeout_seconds: float,
        part: Part = AS_SET,
    ) -> Scored:
        self.asked.append((query, list(documents), instruction))
        self.parts.append(part)
        if self.is_down:
            raise ModelNotReady("no worker answers")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        scored = documents[: self.depth]
        scores = np.array([document.count(query) for document in scored], dtype=np.float32)
        return only_first(Scored(scores, np.zeros(len(scored), dtype=np.bool_), False, 0), len(documents))


class RunningProxy:
    """A proxy in its own thread, and a client that adds nothing to its requests."""

    def __init__(self, parts: Parts, scorer: CountingScorer) -> None:
        self.parts, self.scorer = parts, scorer
        self.app = Proxy(parts)
        config = uvicorn.Config(self.app, **options(), date_header=False, proxy_headers=False)
        self._server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)

    def close(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join()

    def metric(self, line: str) -> bool:
        """Tell whether the metrics contain a line; wait for it, because an answer is counted a little after it was sent."""
        deadline = time.monotonic() + 5
        while line not in self.http.get("/_slimrank/metrics").text:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def search(self, body: object = None, path: str = "/products/_search", **options: object) -> httpx.Response:
        return self.http.request("POST", path, json=body, **options)  # type: ignore[arg-type]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.documents = [{"title": f"shoe {place}", "body": "red " * (place % 7), "n": place} for place in range(30)]
    yield engine
    engine.close()


RULES = {"rules": [{"name": "products", "indices": ["products*"], "fields": ["body"], "rank_window_size": 20}]}

StartProxy = Callable[..., RunningProxy]


@pytest.fixture
def start_proxy(engine: Engine, tmp_path: Path) -> Iterator[StartProxy]:
    running: list[RunningProxy] = []

    def start(rules: object = RULES, *, url: str = "", upstream: Upstream | None = None, **limits: int) -> RunningProxy:
        metrics, scorer = Metrics(), CountingScorer()
        parts = Parts(
            upstream=upstream or Upstream(url or f"http://127.0.0.1:{engine.port}"),
            scorer=scorer,
            rules=Rules.model_validate(rules),
            metrics=metrics,
            shadow=Shadow(metrics, tmp_path / "shadow.jsonl"),
            **limits,
        )
        running.append(RunningProxy(parts, scorer))
        return running[-1]

    yield start
    for proxy in running:
        proxy.close()


@pytest.fixture
def proxy(start_proxy: StartProxy) -> RunningProxy:
    return start_proxy()
