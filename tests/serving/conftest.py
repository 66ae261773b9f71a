"""A gateway in a thread of the tests over a fake model, spoken to over HTTP."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.admission import Admission
from slimrank.serving.backend import Backend
from slimrank.serving.gateway.app import make_gateway
from slimrank.serving.gateway.server import make_app, uvicorn_config
from slimrank.serving.guarded import GuardedBackend
from slimrank.serving.metrics import Metrics
from slimrank.settings import Settings
from tests.doubles import FakeScorer


@contextmanager
def in_thread(settings: Settings, app: FastAPI) -> Iterator[httpx.Client]:
    """Run a gateway until the block ends; yield a client of it."""
    server = uvicorn.Server(uvicorn_config(settings.model_copy(update={"port": 0}), app))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=30)


@contextmanager
def over(backend: Backend, **fields: Any) -> Iterator[httpx.Client]:
    """Run a gateway over a backend; yield a client of it."""
    settings, metrics = Settings(**fields), Metrics()
    admission = Admission(settings.max_backlog_seconds, settings.max_waiting)
    with in_thread(settings, make_gateway(settings, GuardedBackend(backend, admission, metrics), metrics)) as client:
        yield client


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """Yield a client of an embedded gateway with a body limit of 4 MiB."""
    settings = Settings(max_body_bytes=4 * 2**20, embedded=True)
    with in_thread(settings, make_app(settings, Model(ModelIdentity("fake"), FakeScorer()))) as client:
        yield client


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority and a certificate of it, for server and client alike."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=gateway -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder
