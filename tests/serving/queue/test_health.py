"""A worker's health check: light while the worker shows itself, and right where it cannot write or does not."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redis

from slimrank.serving.queue import health
from tests.command import slimrank
from tests.nodes.redis import running_redis
from tests.serving.process import ROOT, worker
from tests.serving.queue.test_queue import eventually


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the file lie in a folder of this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def check(folder: Path, url: str) -> int:
    """Return the exit code of the check in a process of its own."""
    env = {"TMPDIR": str(folder), "SLIMRANK_REDIS_URL": url, "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, "-m", "slimrank.serving.queue.health"], env=env, cwd=ROOT, check=False).returncode


def test_a_sign_is_fresh_for_five_seconds_and_no_link_is_followed(folder: Path) -> None:
    assert not health.is_fresh()
    health.touch()
    assert health.is_fresh()
    now = time.time()
    os.utime(health.file(), (now, now - 4))  # seven beats came late: the machine is busy
    assert health.is_fresh()
    os.utime(health.file(), (now, now - 6))
    assert not health.is_fresh()
    health.file().unlink()
    (folder / "another").touch()
    os.utime(folder / "another", (0, 0))
    health.file().symlink_to(folder / "another")
    health.touch()
    assert (folder / "another").stat().st_mtime == 0


def test_a_folder_that_cannot_be_written_stops_nothing(folder: Path) -> None:
    health.file().mkdir()
    health.touch()
    assert health.file().is_dir()


def test_a_fresh_sign_is_seen_without_a_redis_client(folder: Path) -> None:
    health.touch()
    code = "import sys, slimrank.serving.queue.health as alive; assert alive.main() == 0; print({'redis', 'pydantic', 'numpy'} & {*sys.modules})"
    env = {"TMPDIR": str(folder), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_says_whether_a_worker_is_alive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMRANK_REDIS_URL", "redis://127.0.0.1:9/0")
    none = slimrank("health")
    assert (none.code, none.out, none.err.count("\n")) == (2, "", 1)
    assert "no worker of this machine gave a sign of life within 5 s" in none.err
    health.touch()
    one = slimrank("health")
    assert (one.code, one.out, one.err) == (0, "a worker of this machine is alive\n", "")


@pytest.mark.slow
@pytest.mark.redis
def test_a_running_worker_is_alive_and_a_hung_one_is_not(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with running_redis() as url, worker(redis_url=url) as running, redis.Redis.from_url(url) as store:
        eventually(lambda: health.is_alive(store, socket.gethostname()))
        assert check(elsewhere, url) == 0  # nothing was written there, so Redis is asked
        running.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: not health.is_alive(store, socket.gethostname()))
            assert check(folder, url) == 1
        finally:
            running.send_signal(signal.SIGCONT)
    assert check(elsewhere, "redis://127.0.0.1:1/0") == 1
