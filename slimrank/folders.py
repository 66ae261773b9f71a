"""Folders that a command writes: beside their place first, in it only once they are whole, and never over what is another's.

What is removed for a new folder must be shown to be an earlier one of the same kind. One process at a time works in a folder
that is written bit by bit.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slimrank.errors import ConfigError
from slimrank.files import naming

LOCK_FILE = ".slimrank.lock"
IsOurs = Callable[[Path], bool]
"""Tells whether a folder that is there was made by the command that is to replace it."""


def marked_by(*names: str) -> IsOurs:
    """Return what tells a folder by files that it holds."""
    return lambda folder: all((folder / name).is_file() for name in names)


def only(*names: str) -> IsOurs:
    """Return what tells a folder by holding these files, or some of them, and nothing else."""
    return lambda folder: {path.name for path in folder.iterdir()} <= set(names)


def check_replaceable(folder: Path, is_ours: IsOurs, kind: str) -> None:
    """Refuse a folder that may not give way to a new one; before anything long begins.

    Args:
        kind: What the folder is to be, in words such as "a model folder".

    Raises:
        ConfigError: something is there that is neither empty nor of this kind.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise ConfigError(f"asked to write {kind} to {folder}, which is a file; name a folder")
    if any(folder.iterdir()) and not is_ours(folder):
        raise ConfigError(
            f"asked to write {kind} to {folder}, which is neither empty nor {kind} and would be lost; name another folder, or remove it"
        )


@contextmanager
def new_folder(folder: Path, is_ours: IsOurs, kind: str) -> Iterator[Path]:
    """Yield a folder to fill; it takes its place as ``folder`` only once it is complete.

    What was there before stays as it is until then, and for good where the block ends in an error.

    Raises:
        ConfigError: as ``check_replaceable``, before the block and again after it.
    """
    check_replaceable(folder, is_ours, kind)
    place = folder.resolve()  # a link stays, and leads to the new folder
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        partial.chmod(0o755)
        with naming(folder):
            yield partial
        check_replaceable(folder, is_ours, kind)
        _swap(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process work in a folder, which is made where it is not there.

    Raises:
        ConfigError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise ConfigError(f"process {other} is at work in {folder}; wait for it, or name another folder") from error
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _swap(made: Path, place: Path) -> None:
    """Put a folder in its place; what was there is put back where that fails."""
    old = made.with_name(made.name + "-old")
    if place.exists():
        place.rename(old)
    try:
        made.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
