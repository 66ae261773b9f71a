"""One table: which error is answered with which HTTP status, and under which name.

The message of an error of ours is written for the caller; any other error is answered with a
sentence that says nothing of paths or code, and is logged.
"""

from dataclasses import dataclass

from slimrank.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotReady,
    Overloaded,
    ScoringError,
    SlimrankError,
)

_STATUSES: tuple[tuple[type[SlimrankError], int, str], ...] = (
    # The first that fits counts.
    (InvalidRequest, 400, "invalid_request"),
    (Overloaded, 429, "overloaded"),
    (ModelNotReady, 503, "unavailable"),
    (DeadlineExceeded, 504, "deadline_exceeded"),
    (ScoringError, 500, "internal"),
)
MAX_MESSAGE_CHARACTERS = 500
"""Messages quote what was asked, which may be megabytes."""
_KINDS = {401: "unauthorized", 403: "forbidden", 404: "not_found"}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is answered."""

    status: int
    kind: str
    message: str
    retry_after_seconds: float | None = None


def failure_of(error: Exception) -> Failure:
    """Return how an error is answered."""
    for kind, status, name in _STATUSES:
        if isinstance(error, kind):
            status = getattr(error, "status", status)
            retry_after = getattr(error, "retry_after_seconds", _retry_after(status))
            return Failure(status, _KINDS.get(status, name), _short(str(error)), retry_after)
    return Failure(500, "internal", "the gateway failed to answer; its log says more")


def _short(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else message[:MAX_MESSAGE_CHARACTERS] + "..."


def _retry_after(status: int) -> float | None:
    return 1.0 if status == 503 else None
