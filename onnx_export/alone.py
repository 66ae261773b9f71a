"""Let one process at a time make models in a home folder; a process that waits reports which one it waits for."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_export.steps import Report

LOCK_FILE, OWNER_FILE = ".pull.lock", ".pull.owner"


@contextmanager
def alone(home: Path, report: Report) -> Iterator[None]:
    """Wait until no other process makes a model in ``home``: all processes write to the same merged checkpoints."""
    from filelock import FileLock, Timeout

    home.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(home / LOCK_FILE), home / OWNER_FILE
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(f"wait for {_who(owner)}, which makes a model in {home}")
        lock.acquire()
        report("that process has ended; continue")
    try:
        facts = {"pid": os.getpid(), "command": " ".join(["slimrank", *sys.argv[1:]]), "since": time.strftime("%H:%M:%S")}
        owner.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _who(owner: Path) -> str:
    """Return the process that holds the lock; it writes the owner file a moment after it takes the lock."""
    try:
        facts = json.loads(owner.read_text(encoding="utf-8"))
        return f"process {facts['pid']} (`{facts['command']}`, since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another slimrank"
