"""Rules on trial: the caller gets the engine's answer; the proxy counts and records what reranking would have moved.

After the caller was answered, the search is sent again with its window, so a trial slows no answer. Only a few trials run at the
same time; further ones are dropped and counted, so trials cannot overload the engine. Records are JSON lines. They hold a hash of
the query text; the text itself is recorded only on request.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from connector.proxy.decision import Decision
from connector.proxy.metrics import Metrics
from connector.proxy.scorer import AsyncScorer
from connector.proxy.window import Fetched, Unusable, compare
from slimrank.errors import ConfigError, SlimrankError

log = logging.getLogger(__name__)

MAX_RUNNING = 4


class Shadow:
    """Compares the two orders in the background.

    Args:
        file: The file to append records to; None only counts.
        keep_queries: Whether records hold the query text.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, metrics: Metrics, file: Path | None = None, *, keep_queries: bool = False) -> None:
        try:
            self._file = file.open("a", encoding="utf-8", buffering=1) if file else None
        except OSError as error:
            raise ConfigError(
                f"cannot write the shadow records to {file}: {error.strerror}; name another --shadow-file"
            ) from error
        self._metrics, self._keep_queries = metrics, keep_queries
        self._running: set[asyncio.Task[None]] = set()

    def start(self, decision: Decision, indices: str, scorer: AsyncScorer, search: Callable[[], Awaitable[Fetched]]) -> None:
        """Compare in the background; drop the search if too many comparisons are running."""
        if len(self._running) >= MAX_RUNNING:
            self._metrics.count_shadow(decision.rule, "dropped")
            return
        task = asyncio.create_task(self._compare(decision, indices, scorer, search))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _compare(
        self, decision: Decision, indices: str, scorer: AsyncScorer, search: Callable[[], Awaitable[Fetched]]
    ) -> None:
        begin = time.monotonic()
        try:
            found = await compare(scorer, decision, (await search()).text)
        except (SlimrankError, Unusable) as error:
            self._metrics.count_shadow(decision.rule, "failed")
            log.info("shadow failed rule=%s reason=%s", decision.rule, error)
            return
        self._metrics.count_shadow(decision.rule, "compared" if found else "no_hits")
        if found is None:
            return
        self._metrics.count_moves(
            decision.rule, moved=found.moved, entered=found.entered, is_first_changed=found.is_first_changed
        )
        if self._file is not None:
            query = decision.plan.query
            record = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "rule": decision.rule,
                "indices": indices,
                "query": query if self._keep_queries else None,
                "query_sha256": hashlib.sha256(query.encode(errors="replace")).hexdigest(),
                "seconds": round(time.monotonic() - begin, 4),
                **found.as_json(),
            }
            self._file.write(json.dumps(record) + "\n")

    async def close(self, *, timeout_seconds: float) -> None:
        """Wait up to ``timeout_seconds`` for running comparisons, then close the file."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_seconds)
        for task in self._running:
            task.cancel()
        if self._file is not None:
            self._file.close()
