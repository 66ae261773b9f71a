"""Text files as people and collections give them: plain, gzip or zstd, UTF-8, read with bounds, written whole or not at all.

The one place that opens text: a byte-order mark is dropped here, and what no honest text file does ends here in one line: a
pipe or a device, a line without end, a small file that unpacks to far more than text ever does.
"""

import errno
import gzip
import io
import json
import os
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from slimrank.errors import DataError

PACKED = (".gz", ".zst")
STANDARD_INPUT = Path("-")
MAX_LINE_BYTES = 64 * 2**20
"""Far above the longest document of any collection; a line is held in memory."""
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a write that say nothing about the file itself; the system names no file with them."""
MAX_WHOLE_BYTES = 64 * 2**20
"""The largest file that is read as a whole, such as a configuration or a list of keys."""
MAX_RATIO, FREE_BYTES = 200, 64 * 2**20
"""Text packs to a tenth, logs to a fiftieth; above this much a file is made to fill memory. What is small may pack as it likes."""
_OPEN_ALREADY = (Path("/dev/stdin"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Files that the shell opened for us, as in `<(zcat log.gz)`: opening such a pipe cannot block."""


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for reading, unpacking ``.gz`` and ``.zst``; ``-`` is standard input.

    Raises:
        DataError: it is missing, unreadable, or not what its name says.
    """
    name = "standard input" if path == STANDARD_INPUT else str(path)
    try:
        with _open_bytes(path) as file:
            yield io.TextIOWrapper(file, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {name}: {explain_os(error)}") from error
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {name}: {error}; a whole text file in UTF-8 is needed") from error


def read_text(path: Path) -> str:
    """Return the whole text of a file that is to be small.

    Raises:
        DataError: as ``open_text``, or it is not small.
    """
    with open_text(path) as file:
        text = file.read(MAX_WHOLE_BYTES + 1)
    if len(text) > MAX_WHOLE_BYTES:
        raise DataError(f"cannot read {path}: it is longer than {MAX_WHOLE_BYTES} characters; is it the file that you meant?")
    return text


def parse_json(text: str) -> Any:
    """Return the content of JSON text.

    Raises:
        ValueError: it is none, is nested beyond reading, or holds a number that no file means.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def packed_names(name: str) -> tuple[str, ...]:
    """Return the names under which a file may lie, plain first."""
    return (name, *(name + end for end in PACKED))


def plain_name(path: Path) -> str:
    """Return a file's name without the ending of its packing."""
    return path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name


def explain_os(error: OSError) -> str:
    """Return what the system said of a file, and what to do."""
    cures = {
        errno.ENOENT: "check the path",
        errno.EEXIST: "something else stands there; name another path",
        errno.EISDIR: "name a file",
        errno.ENOTDIR: "a part of the path is a file; name a folder",
        errno.EACCES: "allow it to this user, or name another path",
        errno.EPERM: "allow it to this user, or name another path",
        errno.ENOSPC: "free some, or name a path on another disk, and run the command again",
        errno.EDQUOT: "free some, or name a path on another disk, and run the command again",
        errno.EFBIG: "allow larger files (`ulimit -f`), or name a path on another disk",
        errno.EROFS: "name a path on another disk",
    }
    cure = cures.get(error.errno or 0)
    return f"{error.strerror or error}{f'; {cure}' if cure else ''}"


@contextmanager
def replace_text(path: Path) -> Iterator[TextIO]:
    """Write a text file beside ``path`` and move it there once it is complete.

    Halves of surrogate pairs, which JSON can spell and UTF-8 cannot, become question marks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(partial, "wt", encoding="utf-8", errors="replace") as file:
                yield file
            if path.is_file():
                shutil.copymode(path, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a path into the system's errors about writing, which come without one where a disk is full.

    Libraries in Rust (safetensors, tokenizers) wrap them into errors of their own and leave the number in the text.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in DISK_FAULTS:
            error.filename = str(path)
        raise
    except Exception as error:
        found = re.search(r"\(os\s+error\s+(\d+)\)", str(error))
        if found is None or int(found[1]) not in DISK_FAULTS:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def either(folder: Path, name: str) -> Path:
    """Return ``folder/name``, plain or packed, whichever is there.

    Raises:
        DataError: none is.
    """
    for path in (folder / packed for packed in packed_names(name)):
        if path.is_file():
            return path
    raise DataError(
        f"neither {' nor '.join(packed_names(name))} is in {folder}; a BEIR folder has corpus.jsonl, queries.jsonl and"
        " qrels/SPLIT.tsv"
    )


@contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        yield io.BufferedReader(_Bounded(sys.stdin.buffer, None))
        return
    _check_kind(path)
    with path.open("rb") as file, _unpacked(file, path) as plain:
        yield io.BufferedReader(_Bounded(plain, file if path.suffix in PACKED else None))


def _check_kind(path: Path) -> None:
    """Refuse what opening would wait for, and what has no end."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path in _OPEN_ALREADY or path.parent in _OPEN_ALREADY:
        return
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise DataError(
        f"cannot read {path}: it is {kind}; name a file, or give what it holds on standard input where a command takes -"
    )


@contextmanager
def _unpacked(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix == ".gz":
        with gzip.open(file) as plain:
            yield plain  # type: ignore[misc]
    elif path.suffix == ".zst":
        zstd = _zstd(path)
        try:
            with zstd.ZstdFile(file) as plain:
                yield plain
        except zstd.ZstdError as error:
            raise DataError(f"cannot read {path}: {error}; a whole text file in UTF-8 is needed") from error
    else:
        yield file


def _zstd(path: Path) -> Any:
    """Return Python's module for zstd, or its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise DataError(
        f"cannot read {path}: this Python unpacks no zstd; run: pip install backports.zstd, or unpack it with `zstd -d`"
    )


class _Bounded(io.RawIOBase):
    """Passes bytes on, and ends what no text file does.

    Args:
        plain: What is read.
        packed: The file behind it, where that is packed.
    """

    def __init__(self, plain: BinaryIO, packed: BinaryIO | None) -> None:
        self._plain, self._packed = plain, packed
        self._total = self._line = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes.

        Raises:
            OSError: a line has no end, or the file unpacks to more than text does.
        """
        data = self._plain.read1(len(buffer))  # type: ignore[attr-defined]  # what there is, and a terminal need not fill a buffer
        buffer[: len(data)] = data
        self._total += len(data)
        last = data.rfind(b"\n")
        self._line = self._line + len(data) if last < 0 else len(data) - last - 1
        if self._line > MAX_LINE_BYTES:
            raise OSError(f"a line is longer than {MAX_LINE_BYTES} bytes; is it a text file?")
        if self._packed is not None and self._total > FREE_BYTES + MAX_RATIO * self._packed.tell():
            raise OSError(f"it unpacks to more than {MAX_RATIO} times its size, which text does not; unpack and look at it first")
        return len(data)
