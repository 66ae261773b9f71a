"""A caller who hangs up takes the request back."""

import asyncio
import json
import socket
import threading

import pytest

from slimrank.serving.backend import Answer, Job
from tests.serving.conftest import over


class Endless:
    """A backend that never answers and remembers who left."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.left = threading.Event()

    def choose_model(self, wanted: str | None) -> str:
        return "endless"

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
