"""Read and check ids, grades and scores in lines of columns: a bad value is refused with its line."""

import math
import re
from collections.abc import Iterable

from slimrank.errors import DataError

LARGEST_GRADE = 2**31 - 1
"""The largest grade that trec_eval's integers hold; the smallest is the same with a minus."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)


def grade_of(text: str) -> int:
    """Return a judged grade.

    Raises:
        ValueError: it is no integer, or larger than measures take.
    """
    if not _WHOLE.fullmatch(text.strip()) or abs(int(text)) > LARGEST_GRADE:
        raise ValueError(f"{text[:40]!r} is no integer from -{LARGEST_GRADE} to {LARGEST_GRADE}")
    return int(text)


def score_of(text: str) -> float:
    """Return a score.

    Raises:
        ValueError: it is no finite number.
    """
    score = float(text)
    if not math.isfinite(score):
        raise ValueError(f"{text[:40]!r} is no finite number")
    return score


def check_ids(ids: Iterable[str], *, columns: str, separator: str | None = None) -> None:
    """Refuse ids that would not come back from a line of columns.

    Args:
        columns: The name of the format, for the message.
        separator: What stands between its columns; None = any space.

    Raises:
        DataError: an id is empty, or holds the separator or a line break.
    """
    for found in ids:
        broken = found.split(separator) != [found] or found.splitlines() != [found]
        if broken:
            raise DataError(
                f"{columns} cannot hold the id {found[:80]!r}: a column is not empty and holds no"
                f" {'tab' if separator else 'space'} or line break; give the collection other ids"
            )
