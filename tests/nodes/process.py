"""Start a server process for the tests, wait until it answers, and make sure that it ends with them."""

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

# Made once: a client loads all authorities that it might have to trust, which takes longer than most requests here.
HTTP = httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

# Search engines refuse to run as root; this user exists on every Linux.
_UNPRIVILEGED_UID = 65534
_PR_SET_PDEATHSIG = 1
_PORTS = range(10_000, 32_000)
_places = itertools.count(os.getpid() * 499)


class ServerFailed(RuntimeError):
    """The server ended, or did not answer in time; the message holds the end of its log."""


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on.

    It is below those that the kernel gives to outgoing connections: one of them could take the port before its server does. No port
    is returned twice, and each process of the tests begins at another one.
    """
    for place in _places:
        port = _PORTS[place % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the places have no end")


def _end_with_parent() -> None:
    """Have the kernel end this process with the tests, even if they are killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_reachable(path: Path) -> bool:
    """Tell whether the user that servers run as can read below `path`; a private folder of root's is out of its reach."""
    folders = [path, *path.parents]
    return os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in folders if folder.exists())


def answers(url: str) -> bool:
    """Tell whether a GET is answered with 200."""
    try:
        return HTTP.get(url).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="slimrank-node-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hand_over(folder: Path) -> None:
    """Give `folder` and all in it to the user that an unprivileged server runs as, where we are root."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _UNPRIVILEGED_UID, _UNPRIVILEGED_UID)


@contextlib.contextmanager
def running(
    command: list[str],
    *,
    folder: Path,
    is_up: Callable[[], bool],
    timeout_seconds: float,
    unprivileged: bool = False,
    stdin: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in `folder` until the block ends; its output goes to `folder`/node.log.

    Raises:
        ServerFailed: it ended early or `is_up` stayed false for `timeout_seconds`.
    """
    as_root = unprivileged and os.geteuid() == 0
    user = {"user": _UNPRIVILEGED_UID, "group": _UNPRIVILEGED_UID, "extra_groups": []} if as_root else {}
    log = folder / "node.log"
    with open(log, "wb") as output, open(stdin or os.devnull, "rb") as source:
        process = subprocess.Popen(
            command, cwd=folder, stdin=source, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, preexec_fn=_end_with_parent, **user,  # type: ignore[call-overload]
        )  # fmt: skip
    try:
        deadline = time.monotonic() + timeout_seconds
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                state = f"ended with status {process.returncode}" if process.poll() is not None else "gave no answer"
                raise ServerFailed(f"{command[0]} {state}:\n" + log.read_text(errors="replace")[-3000:])
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
