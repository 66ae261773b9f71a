"""The proxy's scorer for the pages of a search: each window is scored once, and its pages are cut from that one order."""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from connector.proxy.scorer import AsyncScorer
from connector.windows import AS_SET, Part, Windows, window_key
from slimrank.errors import DeadlineExceeded, SlimrankError
from slimrank.types import Scored


class Pages:
    """Scores windows through `scorer`, and remembers them for the pages that follow."""

    def __init__(self, scorer: AsyncScorer, windows: Windows | None = None) -> None:
        self._scorer = scorer
        self._windows = windows or Windows()
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None,
        timeout_seconds: float,
        is_first_page: bool,
        part: Part = AS_SET,
    ) -> Scored:
        """Return a score for each document, the same for every page of a search.

        Raises:
            FirstPageNotScored: the page before had none.
            DeadlineExceeded: they did not come in time.
            SlimrankError: no score can be had.
        """
        key = window_key(query, documents, instruction, part)
        # pages asked for at once wait for the first of them; the lock lives as long as anybody holds it
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout_seconds), turn:
                found = self._windows.find(key, is_first_page=is_first_page)
                if found is None:
                    found = await self._scorer.score(
                        query,
                        documents,
                        instruction=instruction,
                        timeout_seconds=timeout_seconds,
                        part=part,
                    )
                    self._windows.keep(key, found)
                return found
        except TimeoutError as error:
            self._windows.keep(key, None)
            raise DeadlineExceeded(f"no scores within {timeout_seconds * 1000:.0f} ms") from error
        except SlimrankError:
            self._windows.keep(key, None)
            raise
