"""Tell whether a worker of this host shows its sign of life; a container's health check.

    slimrank health                              says it in words
    python -m slimrank.serving.queue.health      exit code 0 if one does; for probes, since it loads a third as much

A worker withholds its sign while its model hangs or Redis is gone, so this is more than "the process runs". With each sign it
touches a file, which is all that is looked at where it is fresh: no Redis client is loaded. Where it is not, as where nothing
can be written, Redis is asked.
"""

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

FRESH_SECONDS = 5.0
"""How long a sign of life lasts, in Redis too: ten beats, because on a busy machine some come late."""


def file() -> Path:
    """Return the file that workers of this host and user touch."""
    return Path(tempfile.gettempdir()) / f"slimrank-worker-{os.getuid()}.alive"


def touch() -> None:
    """Note that a worker has just shown its sign of life; where nothing can be written, nothing is noted."""
    with contextlib.suppress(OSError):
        # Not through a link: the folder is everybody's.
        descriptor = os.open(file(), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)


def is_fresh() -> bool:
    """Tell whether a worker touched the file within the last five seconds."""
    try:
        status = file().lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and 0 <= time.time() - status.st_mtime < FRESH_SECONDS


def is_alive(store: "redis.Redis", host: str) -> bool:
    """Tell whether Redis knows of a worker of ``host`` that was heard of within the last five seconds."""
    import json

    from slimrank.serving.queue import messages

    known: list[bytes] = list(store.smembers(messages.WORKERS_KEY))  # type: ignore[arg-type]
    signs = [store.get(messages.worker_key(worker.decode())) for worker in known]
    return any(json.loads(sign)["host"] == host for sign in signs if sign is not None)


def main() -> int:
    """Return the exit code."""
    if is_fresh():
        return 0
    import socket

    import redis

    from slimrank import settings
    from slimrank.engine.redis_clients import connect

    try:
        return 0 if is_alive(connect(settings.load()), socket.gethostname()) else 1
    except redis.RedisError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
