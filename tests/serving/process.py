"""Real gateway and worker processes for the tests, over a fake scorer or a model folder.

    python -m tests.serving.process gateway|worker      with SLIMRANK_* set; scores with FakeScorer

SLIMRANK_FAKE_MODEL names the fake model, SLIMRANK_FAKE_SECONDS is how long it takes a call, SLIMRANK_FAKE_DOCUMENT_SECONDS each
document beside that; SLIMRANK_FAKE_RUNS names a file for what it worked on and when (``runs``). With SLIMRANK_FAKE_JUMP_SECONDS
the process' clock goes wrong by so much and right again, every second.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.nodes import process

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60


@contextlib.contextmanager
def gateway(
    *, fake: bool = True, wait_ready: bool = True, port: int = 0, is_up: Callable[[], bool] | None = None, **settings: object
) -> Iterator[str]:
    """Run a gateway with these settings; yield its URL."""
    with gateway_process(fake=fake, wait_ready=wait_ready, port=port, is_up=is_up, **settings) as (url, _):
        yield url


@contextlib.contextmanager
def gateway_process(
    *, fake: bool = True, wait_ready: bool = True, port: int = 0, is_up: Callable[[], bool] | None = None, **settings: object
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a gateway with these settings; yield its URL and its process."""
    port = port or process.free_port()
    url = f"http://127.0.0.1:{port}"
    path = "/readyz" if wait_ready else "/healthz"
    role = "gateway" if fake else "serve"
    with _running(role, settings | {"port": port}, fake=fake, is_up=is_up or (lambda: process.answers(url + path))) as running:
        yield url, running


@contextlib.contextmanager
def worker(*, fake: bool = True, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with these settings; it may not serve yet."""
    with _running("worker", settings, fake=fake, is_up=lambda: True) as running:
        yield running


@contextlib.contextmanager
def _running(
    role: str, settings: dict[str, object], *, fake: bool, is_up: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    module = ["tests.serving.process", role] if fake else ["slimrank", role]
    # Settings go through the environment, as in production; the folder is nobody's.
    names = {f"SLIMRANK_{name.upper()}": str(value) for name, value in settings.items()}
    env = [f"{name}={value}" for name, value in ({"PYTHONPATH": str(ROOT)} | names).items()]
    with tempfile.TemporaryDirectory() as folder:
        command = ["/usr/bin/env", *env, sys.executable, "-m", *module]
        with process.running(command, folder=Path(folder), is_up=is_up, timeout_seconds=START_SECONDS) as running:
            try:
                yield running
            finally:
                if os.environ.get("SLIMRANK_TEST_LOGS"):
                    sys.stderr.write((Path(folder) / "node.log").read_text(errors="replace"))


def jumping_clock(seconds: float) -> None:
    """Let the wall clock jump ahead and back every second, as far as Python code can tell."""
    right = time.time
    time.time = lambda: right() + seconds * (int(time.monotonic()) % 2)


def main(role: str) -> None:
    """Run one process over a fake scorer."""
    from slimrank import settings as process_settings
    from slimrank.engine.model import Model
    from slimrank.identity import ModelIdentity
    from slimrank.serving.gateway.server import run_gateway
    from slimrank.serving.queue.worker import run_worker
    from slimrank.telemetry import configure_logging
    from tests.doubles import FakeScorer
    from tests.serving.runs import WritingScorer

    if jump := float(os.environ.get("SLIMRANK_FAKE_JUMP_SECONDS", "0")):
        jumping_clock(jump)
    settings = process_settings.load()
    seconds = {
        "seconds": float(os.environ.get("SLIMRANK_FAKE_SECONDS", "0")),
        "document_seconds": float(os.environ.get("SLIMRANK_FAKE_DOCUMENT_SECONDS", "0")),
    }
    runs = os.environ.get("SLIMRANK_FAKE_RUNS")
    scorer = WritingScorer(Path(runs), **seconds) if runs else FakeScorer(**seconds)
    model = Model(ModelIdentity(os.environ.get("SLIMRANK_FAKE_MODEL", "fake")), scorer)
    configure_logging(settings.log_level)
    if role == "worker":
        run_worker(settings, model)
    else:
        run_gateway(settings, model)


if __name__ == "__main__":
    main(sys.argv[1])
