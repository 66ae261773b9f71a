"""Redis as hosts really have it: over TLS with certificates both ways, with a full disk, and with clocks that go wrong."""

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from deploy.demo import passwords
from slimrank.engine import redis_clients
from slimrank.serving.queue import messages
from slimrank.serving.queue.celery_app import make_app
from slimrank.settings import Settings
from tests.nodes import process
from tests.nodes.redis import answers, running_redis
from tests.nodes.require import require
from tests.serving.process import ROOT, gateway, worker
from tests.serving.queue.test_queue import GOOD, eventually, post

pytestmark = [pytest.mark.slow, pytest.mark.redis]


@contextlib.contextmanager
def redis_server(folder: Path, url: str, *options: object) -> Iterator[None]:
    """Run a Redis with these options, which answers at ``url``."""
    server = shutil.which("redis-server")
    if server is None:
        require("redis-server is not installed; on Debian: apt-get install redis-server")
    command = [server, "--bind", "127.0.0.1", "--appendonly", "no", "--dir", str(folder), *map(str, options)]
    with process.running(command, folder=folder, is_up=lambda: answers(url), timeout_seconds=20):
        yield


@pytest.mark.parametrize("shows_certificate", [True, False])
def test_redis_over_tls_that_demands_certificates(certificates: Path, tmp_path: Path, shows_certificate: bool) -> None:
    port = process.free_port()
    theirs = ["--tls-cert-file", certificates / "cert.pem", "--tls-key-file", certificates / "key.pem"]
    authority = ["--tls-ca-cert-file", certificates / "ca.pem", "--tls-auth-clients", "yes"]
    trusting = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificates / 'ca.pem'}"
    known = f"{trusting}&ssl_certfile={certificates / 'cert.pem'}&ssl_keyfile={certificates / 'key.pem'}"
    with redis_server(tmp_path, known, "--save", "", "--port", 0, "--tls-port", port, *theirs, *authority):
        if shows_certificate:
            with worker(redis_url=known), gateway(redis_url=known) as gate:
                assert post(gate).status_code == 200
            return
        with gateway(redis_url=trusting, wait_ready=False) as gate:
            answer = post(gate)
            assert answer.status_code == 503
            assert str(certificates) not in answer.text
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(
                known.replace(str(certificates / "ca.pem"), ssl.get_default_verify_paths().openssl_cafile)
            ).ping()


def test_the_access_list_is_enough_for_gateway_and_worker_and_lets_nobody_run_a_script(tmp_path: Path) -> None:
    passwords.write_redis(tmp_path)
    port = process.free_port()
    url = (tmp_path / passwords.URL_FILE).read_text().replace("redis:6379", f"127.0.0.1:{port}")
    options = ["--save", "", "--port", port, "--protected-mode", "no", "--aclfile", tmp_path / "users.acl"]
    shared = {"redis_url": url, "score_cache": "redis"}
    with redis_server(tmp_path, f"redis://127.0.0.1:{port}/0", *options), worker(**shared), gateway(**shared) as gate:
        assert post(gate).status_code == 200
        assert post(gate, GOOD | {"priority": "audit"}).status_code == 200
        with redis.Redis.from_url(url) as store:
            for command in (["EVAL", "return 1", "0"], ["SCRIPT", "LOAD", "return 1"], ["FLUSHALL"], ["GET", "another"]):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    store.execute_command(*command)
        with redis.Redis(port=port) as stranger, pytest.raises(redis.exceptions.NoPermissionError):
            stranger.get(messages.WORKERS_KEY)


def test_a_redis_whose_disk_is_full_is_a_failure_in_words_and_passes(tmp_path: Path) -> None:
    port = process.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with (
        redis_server(tmp_path, url, "--save", "3600 1000000", "--port", port),
        redis.Redis.from_url(url) as store,
        worker(redis_url=url),
        gateway(redis_url=url) as gate,
    ):
        (tmp_path / "dump.rdb").mkdir()  # as good as full: the snapshot cannot be written there
        store.bgsave()
        eventually(lambda: store.info("persistence")["rdb_last_bgsave_status"] == "err")
        answer = post(gate)
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        degraded = post(gate, GOOD | {"on_failure": "first_stage"})
        assert (degraded.status_code, degraded.headers["x-slimrank-degraded"]) == (200, "unavailable")
        (tmp_path / "dump.rdb").rmdir()
        store.bgsave()
        eventually(lambda: post(gate).status_code == 200, seconds=30)


def test_clocks_that_jump_by_two_hours_lose_nothing() -> None:
    def ask(number: int) -> bool:
        query = f"request{number}"
        answer = post(gate, {"query": query, "documents": ["nothing", f"this is {query}"]})
        return answer.status_code == 200 and answer.json()["results"][0]["index"] == 1

    jumps = {"fake_jump_seconds": 7200, "fake_seconds": 0.02}
    with (
        running_redis() as url,
        worker(redis_url=url, **jumps),
        worker(redis_url=url, fake_jump_seconds=-7200),
        gateway(redis_url=url, fake_jump_seconds=3600) as gate,
        ThreadPoolExecutor(4) as pool,
    ):
        begin, rights = time.monotonic(), []
        while time.monotonic() - begin < 3:  # past some jumps
            rights += pool.map(ask, range(8))
        assert all(rights)


def test_redis_own_clock_set_ahead_fails_what_waits_at_once() -> None:
    with (
        running_redis() as url,
        redis.Redis.from_url(url) as store,
        worker(redis_url=url, fake_seconds=1, worker_requests=1),
        gateway(redis_url=url) as gate,
        ThreadPoolExecutor(2) as pool,
    ):
        begin = time.monotonic()
        waiting = [pool.submit(post, gate) for _ in range(2)]
        eventually(lambda: "slimrank_waiting_requests 2.0" in httpx.get(f"{gate}/metrics").text)
        for key in store.scan_iter(redis_clients.KEY_PREFIX + "job:*"):  # what a jump ahead does: they all expire
            store.delete(key)
        # 504: to a worker, a job that is gone is one whose time is over
        assert {answer.result().status_code for answer in waiting} <= {200, 503, 504}
        assert time.monotonic() - begin < 30  # and not the deadline of 60 s
        eventually(lambda: post(gate).status_code == 200)


def test_a_redis_behind_a_socket_is_written_either_way(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    url = f"unix://{path}?db=0"
    with redis_server(tmp_path, url, "--save", "", "--port", 0, "--unixsocket", path):
        for written in (url, f"redis+socket://{path}?virtual_host=0"):
            with worker(redis_url=written), gateway(redis_url=written) as gate:
                assert post(gate).status_code == 200


def test_a_stray_broker_of_another_program_in_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, f"amqp://nobody@127.0.0.1:{process.free_port()}//")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "db+postgresql://nobody@127.0.0.1/none")
    with running_redis() as url, worker(redis_url=url), gateway(redis_url=url) as gate:
        assert post(gate).status_code == 200


def ends_with(role: str, **settings: object) -> tuple[int, str]:
    """Return the code with which a process ends by itself, and the last line it says."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    env |= {f"SLIMRANK_{name.upper()}": str(value) for name, value in settings.items()}
    code = f"from tests.serving.process import main; from slimrank.errors import SlimrankError\ntry: main({role!r})\nexcept SlimrankError as e: exit(str(e))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("role", ["worker", "gateway"])
def test_a_redis_cluster_is_refused_at_the_start_in_one_line(tmp_path: Path, role: str) -> None:
    port = process.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with redis_server(
        tmp_path, url, "--save", "", "--port", port, "--cluster-enabled", "yes", "--cluster-port", process.free_port()
    ):
        code, line = ends_with(role, redis_url=url, port=0)
    assert code == 1
    assert "is a node of a Redis Cluster, which cannot be used" in line


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:7000", "amqp://127.0.0.1", "127.0.0.1:6379", "redis://host:port/0"])
def test_an_address_of_another_kind_is_refused_in_one_line(url: str) -> None:
    code, line = ends_with("worker", redis_url=url)
    assert code == 1
    assert "setting redis_url (SLIMRANK_REDIS_URL)" in line and "unix:///path/to/socket" in line


@pytest.mark.parametrize("role", ["worker", "gateway"])
def test_a_certificate_that_is_not_trusted_is_named_as_such(certificates: Path, tmp_path: Path, role: str) -> None:
    port = process.free_port()
    theirs = ["--tls-cert-file", certificates / "cert.pem", "--tls-key-file", certificates / "key.pem"]
    authority = ["--tls-ca-cert-file", certificates / "ca.pem", "--tls-auth-clients", "no"]
    trusting = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates / 'ca.pem'}"
    with redis_server(tmp_path, trusting, "--save", "", "--port", 0, "--tls-port", port, *theirs, *authority):
        code, line = ends_with(role, redis_url=f"rediss://127.0.0.1:{port}/0", port=0)
        assert code == 1
        assert "the TLS certificate of Redis" in line and "is not trusted" in line
        with worker(redis_url=trusting), gateway(redis_url=trusting) as gate:
            assert post(gate).status_code == 200


def test_celery_checks_the_certificate_as_redis_py_does() -> None:
    app = make_app(Settings(redis_url="rediss://127.0.0.1:1/0"))
    assert app.conf.broker_use_ssl == {"ssl_cert_reqs": "required"}
