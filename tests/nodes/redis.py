"""Run a real redis-server for the tests, or use the one that SLIMRANK_TEST_REDIS_URL names."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import redis

from tests.nodes import process
from tests.nodes.require import require


def answers(url: str) -> bool:
    """Tell whether a Redis answers at `url`."""
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=2)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@contextlib.contextmanager
def running_redis() -> Iterator[str]:
    """Run, or find, a Redis; yield its URL; skip or fail where there is none."""
    if url := os.environ.get("SLIMRANK_TEST_REDIS_URL"):
        if not answers(url):
            require(f"SLIMRANK_TEST_REDIS_URL names {url}, where no Redis answers")
        yield url
        return
    server = shutil.which("redis-server")
    if server is None:
        require("redis-server is not installed; on Debian: apt-get install redis-server")
    port = process.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (
        process.scratch_folder() as folder,
        process.running(command, folder=folder, is_up=lambda: answers(url), timeout_seconds=20),
    ):
        yield url
