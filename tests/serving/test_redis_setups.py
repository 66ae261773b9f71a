"""Redis as hosts really have it: over TLS with certificates both ways, with a full disk, and with clocks that go wrong."""

import contextlib
import shutil
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from deploy.demo import secrets
from slimrank.serving import messages
from tests.nodes import process
from tests.nodes.redis import answers, running_redis
from tests.nodes.require import require
from tests.serving.process import gateway, worker
from tests.serving.test_queue import GOOD, eventually, post

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
    secrets.write_redis(tmp_path)
    port = process.free_port()
    url = (tmp_path / secrets.URL_FILE).read_text().replace("redis:6379", f"127.0.0.1:{port}")
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
        for key in store.scan_iter(messages.KEY_PREFIX + "job:*"):  # what a jump ahead does: they all expire
            store.delete(key)
        assert {answer.result().status_code for answer in waiting} <= {200, 503}
        assert time.monotonic() - begin < 30  # and not the deadline of 60 s
        eventually(lambda: post(gate).status_code == 200)
