"""A request whose caller hung up holds the engine for the slice in hand, and no longer; real processes, both ways of serving."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.test_queue import GOOD, eventually, post

pytestmark = [pytest.mark.slow, pytest.mark.redis]

DOCUMENT_SECONDS = 0.03
MOST_SECONDS = 3.0
"""A slice, and what a busy machine adds; each abandoned request below is 15 s of work."""


@pytest.fixture(scope="module", params=["embedded", "queued"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a gateway whose model takes a while for each document."""
    with contextlib.ExitStack() as stack:
        if request.param == "embedded":
            yield stack.enter_context(gateway(embedded=True, fake_document_seconds=DOCUMENT_SECONDS))
        else:
            redis_url = stack.enter_context(running_redis())
            stack.enter_context(worker(redis_url=redis_url, fake_document_seconds=DOCUMENT_SECONDS))
            yield stack.enter_context(gateway(redis_url=redis_url))


def hang_up_on(url: str, documents: int, *, after_seconds: float) -> None:
    """Ask for so many documents, and close the connection."""
    parts = urlsplit(url)
    body = json.dumps(
        {"query": "pipe", "documents": [f"document {time.monotonic()} {number}" for number in range(documents)]}
    ).encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(after_seconds)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # not refused: it is being scored, or waits
            connection.recv(1)


def test_the_next_caller_waits_for_a_slice_of_an_abandoned_request_and_not_for_its_end(url: str) -> None:
    for _ in range(3):
        hang_up_on(url, 520, after_seconds=1.0)
        begin = time.monotonic()
        assert post(url).status_code == 200
        assert time.monotonic() - begin < MOST_SECONDS


def test_abandoned_requests_leave_nothing_behind_that_admission_would_count(url: str) -> None:
    hang_up_on(url, 520, after_seconds=0.5)

    def backlog() -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("slimrank_backlog_seconds{"))

    eventually(lambda: backlog() < 0.01, seconds=5)
    answer = post(url, GOOD | {"deadline_ms": 3000})
    assert answer.status_code == 200
    assert answer.json()["meta"]["scored_documents"] == 3


def test_a_large_request_that_is_wanted_does_not_hold_up_small_ones(url: str) -> None:
    parts = urlsplit(url)
    body = json.dumps({"query": "pipe", "documents": [f"large {number}" for number in range(300)]}).encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.5)
        for _ in range(3):
            begin = time.monotonic()
            assert post(url).status_code == 200
            assert time.monotonic() - begin < MOST_SECONDS
        connection.settimeout(60)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
