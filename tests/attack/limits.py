"""A process within a memory limit: a control group where one may be made, else a watcher that kills as the kernel would."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.nodes import process

ROOT = Path(__file__).parent.parent.parent
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_WATCH_SECONDS = 0.02
_numbers = itertools.count()


@contextlib.contextmanager
def limited(
    arguments: list[str],
    *,
    megabytes: int,
    folder: Path,
    is_up: Callable[[], bool],
    timeout_seconds: float = 90,
    **settings: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process of ours, with these settings in its environment, and end it with the block."""
    folder.mkdir()
    environment = {"PYTHONPATH": str(ROOT)} | {f"SLIMRANK_{name.upper()}": str(value) for name, value in settings.items()}
    with _group(megabytes) as group:
        enter = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"] if group else []
        command = [*enter, sys.executable, "-m", *arguments]
        with process.running(
            command, folder=folder, is_up=is_up, timeout_seconds=timeout_seconds, environment=environment
        ) as running:
            ended = threading.Event()
            watcher = threading.Thread(target=_watch, args=(running, megabytes, ended))
            if group is None:
                watcher.start()
            try:
                yield running
            finally:
                ended.set()


@contextlib.contextmanager
def _group(megabytes: int) -> Iterator[Path | None]:
    """Yield a control group with this limit, of either version; None where none may be made."""
    for parent, name in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        group = parent / f"slimrank-attack-{os.getpid()}-{next(_numbers)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / name).exists():
                (group / name).write_text(str(megabytes * 2**20))
                yield group
                return
        finally:
            with contextlib.suppress(OSError):
                group.rmdir()
    yield None


def _watch(running: subprocess.Popen[bytes], megabytes: int, ended: threading.Event) -> None:
    while not ended.wait(_WATCH_SECONDS) and running.poll() is None:
        if resident_megabytes(running.pid) > megabytes:
            os.kill(running.pid, signal.SIGKILL)


def resident_megabytes(process_id: int, *, peak: bool = False) -> int:
    """Return how much memory a process has, or has had at most."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process_id}/status").read_text()
        if found := re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status):
            return int(found[1]) // 1024
    return 0
