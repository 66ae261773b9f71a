"""A circuit breaker: stop asking a model that keeps failing, and try it again by itself.

closed -> open after several failures and some seconds with no answer between them -> half open after
a pause, when one probe is let through -> closed if it is answered, open again if not. Callers are
refused at once while it is open instead of waiting for their deadlines. Overload does not open it:
then some are answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(slots=True)
class Breaker:
    """Counts failures in a row.

    Args:
        failures_to_open: Failures in a row that open it,
        silence_seconds: if they span so long.
        pause_seconds: From opening to the first probe, and between probes.
        clock: Seconds, monotonic.
    """

    failures_to_open: int = 8
    silence_seconds: float = 1.0
    pause_seconds: float = 1.0
    clock: Callable[[], float] = monotonic
    _failures: int = 0
    _failing_since: float = 0.0
    _opened: float | None = None
    _is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """Return whether callers must be refused."""
        return self._opened is not None

    def may_probe(self) -> bool:
        """Return whether one probe is due now; the caller that gets True must report how it went."""
        if self._opened is None or self._is_probing or self.clock() - self._opened < self.pause_seconds:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """An answer came: close."""
        self._failures, self._opened, self._is_probing = 0, None, False

    def failed(self) -> None:
        """Count a call that had no answer."""
        now = self.clock()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        is_silent = self._failures >= self.failures_to_open and now - self._failing_since >= self.silence_seconds
        if self._is_probing or is_silent:
            self._opened, self._is_probing = now, False
