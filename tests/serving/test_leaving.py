"""A caller who hangs up takes the request back."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from slimrank.engine import redis_clients
from slimrank.engine.jobs import Answer, Job
from slimrank.serving.admission import Admission
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import messages
from slimrank.serving.queue.queued_backend import QueuedBackend
from slimrank.settings import Settings
from slimrank.types import RerankRequest
from tests.nodes.redis import running_redis
from tests.serving.conftest import over
from tests.serving.queue.test_long_queue import keep_alive
from tests.serving.queue.test_queue import eventually


class Endless:
    """A backend that never answers and remembers who left."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.left = threading.Event()

    def choose_model(self, wanted: str | None) -> str:
        return "endless"

    def document_tokens(self, model: str) -> int:
        return 0

    def failing(self) -> list[str]:
        return []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def score(self, job: Job, *, timeout_seconds: float) -> Answer:
        self.asked.set()
        try:
            await asyncio.sleep(timeout_seconds)
        except asyncio.CancelledError:
            self.left.set()
            raise
        raise AssertionError("nobody waits so long")


@pytest.mark.parametrize("leave", ["close", "half-close"])
def test_a_caller_who_hangs_up_takes_the_request_back(leave: str) -> None:
    backend = Endless()
    body = json.dumps({"query": "q", "documents": ["a"]}).encode()
    with over(backend) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            assert backend.asked.wait(5)
            if leave == "half-close":
                connection.shutdown(socket.SHUT_WR)
                assert backend.left.wait(5)
                connection.settimeout(5)
                assert connection.recv(100) == b""
        assert backend.left.wait(5)


class Large(list[str]):
    """Documents that take until told to be written down."""

    def __init__(self) -> None:
        super().__init__(["a"])
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[str]:
        self.begun.set()
        assert self.may_end.wait(10)
        return super().__iter__()


async def leave_while_written(redis_url: str, documents: Large, is_forgotten: Callable[[], bool]) -> None:
    """Ask, hang up while the job is on its way to Redis, and wait until it is there no more."""
    backend = QueuedBackend(Settings(redis_url=redis_url), Admission(max_backlog_seconds=10, max_waiting=10), Metrics())
    await backend.start()
    asking = asyncio.create_task(backend.score(Job(RerankRequest("q", documents)), timeout_seconds=60))
    assert await asyncio.to_thread(documents.begun.wait, 10)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0.2)  # were the job deleted before it is written, it would be now
    documents.may_end.set()
    try:
        await asyncio.to_thread(eventually, is_forgotten, seconds=5)
    finally:
        await backend.stop()


@pytest.mark.redis
def test_a_caller_who_hangs_up_while_the_job_is_written_leaves_none_behind() -> None:
    with running_redis() as url, redis.Redis.from_url(url) as store:
        keep_alive(store)
        queue = redis_clients.KEY_PREFIX + messages.queue_name("fake")
        asyncio.run(leave_while_written(url, Large(), lambda: store.llen(queue) == 1 and not store.keys(messages.job_key("*"))))
