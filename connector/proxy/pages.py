"""Score each window of a search once, so that the proxy cuts all pages of the search from one order."""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from connector.proxy.scorer import AsyncScorer
from connector.window_cache import AS_SET, Part, Windows, window_key
from slimrank.errors import DeadlineExceeded, SlimrankError
from slimrank.types import Scored


class Pages:
    """Scores windows through ``scorer``, and keeps the scores for later pages."""

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
        """Return a score for each document. All pages of a search get the same scores.

        Raises:
            FirstPageNotScored: an earlier page could not be scored.
            DeadlineExceeded: the scores did not arrive in time.
            SlimrankError: the scorer failed.
        """
        key = window_key(query, documents, instruction, part)
        # of pages that are requested at the same time, one scores and the others wait; the lock exists only while it is held
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
