"""Keep data that grow with the number of queries in temporary files, so that an audit's memory does not grow.

Rows of numbers are read back in blocks of equal size; SQLite sorts and joins records. The files are deleted when they are closed.
This module knows nothing of audits.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import gettempdir
from typing import IO

import numpy as np
import numpy.typing as npt

from slimrank.errors import DataError

Floats = npt.NDArray[np.float64]
BLOCK = 1024
"""The number of rows in memory at a time."""
Grade = tuple[str, str, int]
"""query_id, doc_id, grade."""


class Numbers:
    """Rows of ``width`` numbers. They are added one at a time, and can be read in blocks many times."""

    def __init__(self, file: IO[bytes], width: int) -> None:
        self._file, self._width = file, width
        self._waiting: list[Sequence[float]] = []

    def add(self, row: Sequence[float]) -> None:
        """Add one row."""
        self._waiting.append(row)
        if len(self._waiting) == BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._file.seek(0, 2)
        self._file.write(np.array(self._waiting, dtype=np.float64).tobytes())
        self._waiting.clear()

    def blocks(self) -> Iterator[Floats]:
        """Yield (n, width) arrays in the order of adding, n <= BLOCK."""
        self._flush()
        size = BLOCK * self._width * 8
        place = 0
        while True:
            self._file.seek(place)
            if not (content := self._file.read(size)):
                return
            place += len(content)
            yield np.frombuffer(content).reshape(-1, self._width)


@contextmanager
def scratch() -> Iterator[sqlite3.Connection]:
    """Yield an empty database in a temporary file; SQLite keeps about 2 MB in memory, however large the file becomes.

    Raises:
        DataError: the disk for temporary files is full, or fails.
    """
    database = sqlite3.connect("")
    try:
        yield database
    except sqlite3.OperationalError as error:
        raise DataError(
            f"cannot keep temporary data in {gettempdir()}: {error}; free some space, or name another folder in TMPDIR"
        ) from error
    finally:
        database.close()


def in_order(grades: Iterable[Grade], query_ids: Iterable[str] | None = None) -> Iterator[Grade]:
    """Yield grades ordered by query id and document id; the last grade of a pair counts. ``query_ids`` limits the queries."""
    with scratch() as database:
        database.execute("CREATE TABLE grades (query_id, doc_id, grade, PRIMARY KEY (query_id, doc_id)) WITHOUT ROWID")
        database.execute("CREATE TABLE wanted (query_id PRIMARY KEY) WITHOUT ROWID")
        database.executemany("INSERT OR REPLACE INTO grades VALUES (?, ?, ?)", grades)
        database.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((query_id,) for query_id in query_ids or ()))
        only = "" if query_ids is None else "WHERE query_id IN wanted"
        yield from database.execute(f"SELECT query_id, doc_id, grade FROM grades {only} ORDER BY query_id, doc_id")


def quantiles(values: Iterable[float], shares: Sequence[float]) -> list[float]:
    """Return the quantiles at ``shares`` in [0, 1], with linear interpolation; there must be at least one value."""
    with scratch() as database:
        database.execute("CREATE TABLE numbers (value REAL)")
        database.executemany("INSERT INTO numbers VALUES (?)", ((value,) for value in values))
        (count,) = database.execute("SELECT COUNT(*) FROM numbers").fetchone()
        found = []
        for share in shares:
            place = share * (count - 1)
            pair = database.execute("SELECT value FROM numbers ORDER BY value LIMIT 2 OFFSET ?", (int(place),)).fetchall()
            low, high = pair[0][0], pair[-1][0]
            found.append(low + (high - low) * (place - int(place)))
        return found
