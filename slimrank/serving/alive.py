"""Tell whether a worker of this host shows its sign of life; a container's health check.

    python -m slimrank.serving.alive      exit code 0 if one does

A worker withholds its sign while its model hangs, so this is more than "the process runs".
"""

import json
import socket
import sys
from typing import Any

import redis

from slimrank import settings as process_settings
from slimrank.serving import messages, queue


def is_alive(store: redis.Redis, host: str) -> bool:
    """Tell whether a worker of ``host`` was heard of within the last two seconds."""
    known: list[Any] = list(store.smembers(messages.WORKERS_KEY))
    signs: list[Any] = [store.get(messages.worker_key(worker.decode())) for worker in known]
    return any(json.loads(sign)["host"] == host for sign in signs if sign is not None)


def main() -> int:
    """Return the exit code."""
    try:
        return 0 if is_alive(queue.connect(process_settings.load()), socket.gethostname()) else 1
    except redis.RedisError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
