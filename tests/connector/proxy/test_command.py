import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.command import slimrank
from tests.connector.proxy.engine import Engine, Received, Reply
from tests.nodes.process import free_port

ROOT = Path(__file__).parents[3]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "slimrank", "proxy", *options]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/_slimrank/health")
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_terminated_proxy_finishes_running_requests(engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def reply(_: Received) -> Reply:
        begun.set()
        assert release.wait(20)
        return Reply(body=b'{"whole":true}')

    engine.reply = reply
    port = free_port()
    line = command("--upstream", f"http://127.0.0.1:{engine.port}", "--port", str(port), "--drain-seconds", "0.5")
    process = subprocess.Popen(line, cwd=ROOT)
    answers: list[httpx.Response] = []
    try:
        wait_for(port)
        caller = threading.Thread(target=lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}/_cat/indices", timeout=20)))
        caller.start()
        assert begun.wait(10)
        process.send_signal(signal.SIGTERM)
        health = httpx.get(f"http://127.0.0.1:{port}/_slimrank/health")
        assert (health.status_code, health.json()["status"]) == (503, "draining")
        time.sleep(1)
        assert process.poll() is None
        release.set()
        caller.join()
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
    assert answers[0].json() == {"whole": True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--upstream", "localhost:9200"], "--upstream"),
        (["--upstream", "http://localhost:9200", "--rules", "missing.yaml"], "the rules: cannot read missing.yaml"),
        (["--upstream", "http://localhost:9200", "--scorer", "nowhere"], "gateway"),
        (["--upstream", "http://localhost:9200", "--tls-cert", "a.pem"], "--tls-key"),
        (["--upstream", "http://localhost:9200", "--shadow-file", "missing/x"], "--shadow-file"),
    ],
)
def test_an_invalid_option_gives_one_line_without_a_traceback(options: list[str], words: str) -> None:
    done = slimrank("proxy", *options)
    assert (done.code, done.err.count("\n")) == (2, 1) or "Usage:" in done.err
    assert words in done.err


def test_a_missing_certificate_ends_the_process_with_one_line() -> None:
    line = command("--upstream", "http://localhost:9200", "--tls-cert", "a.pem", "--tls-key", "b.pem", "--port", "0")
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert "a.pem" in done.stderr
    assert "Traceback" not in done.stderr
