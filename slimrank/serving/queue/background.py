"""Loops that must not end: whatever fails is logged and tried again, and what goes on failing shows in health.

A task of asyncio that raises ends without a word, and what it did is done no more while all else looks well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

log = logging.getLogger(__name__)

FAILING_SECONDS = 5.0
"""A loop that has not come round for so long because of errors is failing."""
RETRY_SECONDS = 0.1


class Chore:
    """Does something over and over, in a task of the running event loop.

    Args:
        turn: Done again and again.
        pause: Waited for between two turns.
        expected: Errors that are somebody else's trouble, such as a Redis that is down: no failing of ours. They are logged in a
            line when they begin, and when they end.
        where: Whose trouble that is, as the line names it.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], Awaitable[None]],
        *,
        pause: Callable[[], Awaitable[None]] | None = None,
        expected: tuple[type[Exception], ...] = (),
        where: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self._turn, self._pause, self._expected, self._clock = turn, pause, expected, clock
        self._where = where
        self._failing_since: float | None = None
        self._waits = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever(), name=self.name)

    async def stop(self) -> None:
        """End, and wait for the end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def is_failing(self) -> bool:
        """Return whether the task has ended by itself, or only meets errors."""
        if self._task is not None and self._task.done():
            return True
        return self._failing_since is not None and self._clock() - self._failing_since >= FAILING_SECONDS

    async def _forever(self) -> None:
        while True:
            try:
                await self._turn()
                self._failing_since = None
                if self._waits:
                    log.info("%s goes on where=%s", self.name, self._where)
                self._waits = False
            except self._expected as error:
                if not self._waits:
                    log.warning(
                        "%s waits where=%s error=%s; it is tried until it answers",
                        self.name,
                        self._where,
                        type(error).__name__,
                    )
                self._waits = True
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                if self._failing_since is None:
                    self._failing_since = self._clock()
                log.exception("%s failed; it is tried again", self.name)
                await asyncio.sleep(RETRY_SECONDS)
            if self._pause is not None:
                await self._pause()
