"""Text files as collections ship them: plain or gzip, UTF-8, written whole or not at all."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from slimrank.errors import DataError


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for reading, decompressing ``.gz``.

    Raises:
        DataError: it is missing, unreadable, or not what its name says.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise DataError(f"cannot read {path}: {explain_os(error)}") from error
    except (UnicodeDecodeError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}; a whole text file in UTF-8 is needed") from error


def explain_os(error: OSError) -> str:
    """Return what the system said of a file, and what to do."""
    cures: dict[type[OSError], str] = {
        FileNotFoundError: "check the path",
        FileExistsError: "something else stands there; name another path",
        IsADirectoryError: "name a file",
        NotADirectoryError: "a part of the path is a file; name a folder",
        PermissionError: "allow it to this user, or name another path",
    }
    cure = cures.get(type(error))
    return f"{error.strerror or error}{f'; {cure}' if cure else ''}"


@contextmanager
def replace_text(path: Path) -> Iterator[TextIO]:
    """Write a text file beside ``path`` and move it there once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with gzip.open(partial, "wt", encoding="utf-8") if path.suffix == ".gz" else partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def either(folder: Path, name: str) -> Path:
    """Return ``folder/name`` or ``folder/name.gz``, whichever is there.

    Raises:
        DataError: neither is.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"neither {name} nor {name}.gz is in {folder}; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
    )
