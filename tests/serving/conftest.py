"""A gateway in a thread of the tests over a fake model, spoken to over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import sleep

import httpx
import pytest
import uvicorn

from slimrank.serving.backend import Backend
from slimrank.serving.embedded import EmbeddedBackend
from slimrank.serving.model import Model
from slimrank.serving.server import uvicorn_config
from slimrank.settings import Settings
from tests.doubles import FakeScorer


@contextmanager
def in_thread(settings: Settings, backend: Backend) -> Iterator[httpx.Client]:
    """Run a gateway until the block ends; yield a client of it."""
    server = uvicorn.Server(uvicorn_config(settings.model_copy(update={"port": 0}), backend))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """Yield a client of a gateway with a body limit of 4 MiB."""
    with in_thread(Settings(max_body_bytes=4 * 2**20), EmbeddedBackend(Model("fake", FakeScorer()))) as client:
        yield client
