"""A backend that protects itself and its callers: admission, circuit breaker, counts.

Wraps either backend, so that both ways of serving refuse alike.
"""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from slimrank.engine.jobs import Answer, Job
from slimrank.errors import DeadlineExceeded, ModelNotReady, Overloaded
from slimrank.scoring import PROBE_DOCUMENT, PROBE_QUERY
from slimrank.serving.admission import Admission, cost_of
from slimrank.serving.backend import Backend
from slimrank.serving.breaker import Breaker
from slimrank.serving.metrics import Metrics
from slimrank.types import RerankRequest

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
TELLING_SECONDS = 0.25
AUDITS = 2
"""Audit requests that one gateway has in hand: enough that workers need not wait for the next, few enough to leave them free."""


class GuardedBackend:
    """Lets through what can be answered in time."""

    def __init__(self, backend: Backend, admission: Admission, metrics: Metrics, *, breaker: Breaker | None = None) -> None:
        self._backend = backend
        self._admission = admission
        self._metrics = metrics
        self._breaker = breaker or Breaker()
        self._audits = asyncio.Semaphore(AUDITS)
        self._probes: set[asyncio.Task[None]] = set()

    def choose_model(self, wanted: str | None) -> str:
        """Return the model that would answer; see ``Backend``."""
        return self._backend.choose_model(wanted)

    def models(self) -> Sequence[str]:
        """Return the names of the models served; see ``Backend``."""
        return self._backend.models()

    def document_tokens(self, model: str) -> int:
        """Return how many tokens of a document are read where a request does not say; see ``Backend``."""
        return self._backend.document_tokens(model)

    def failing(self) -> list[str]:
        """Return the names of background loops that fail; see ``Backend``."""
        return self._backend.failing()

    async def start(self) -> None:
        """Start the backend."""
        await self._backend.start()

    async def stop(self) -> None:
        """Stop the backend."""
        for probe in self._probes:
            probe.cancel()
        await self._backend.stop()

    async def score(self, job: Job, *, timeout_seconds: float) -> Answer:
        """Return the answer; see ``Backend``.

        Raises:
            Overloaded: the request would wait too long.
        """
        if self._breaker.is_open:
            self._probe_when_due()
            raise ModelNotReady("scoring has been failing and is being probed; try again in a second")
        if job.priority == "audit":
            return await self._score_audit(job, timeout_seconds=timeout_seconds)
        model = self._backend.choose_model(job.model)
        cost = cost_of(job, document_tokens=self._backend.document_tokens(model))
        ticket = self._admission.admit(
            model, cost, timeout_seconds=timeout_seconds, caller=job.caller, is_elastic=job.takes_partial
        )
        begin = monotonic()
        self._show(model)
        try:
            answer = await self._backend.score(job, timeout_seconds=timeout_seconds)
        except DeadlineExceeded:
            # Other errors come at once and need no breaker; a deadline that nobody could have kept says nothing.
            if timeout_seconds >= TELLING_SECONDS:
                self._breaker.failed()
            self._admission.correct(ticket, max(ticket.wait_seconds, timeout_seconds))
            raise
        finally:
            self._admission.release(ticket)
            self._show(model)
        self._breaker.succeeded()
        if answer.scored.depth is None:  # else the cost that was estimated is not what was done
            self._admission.learn(ticket, answer)
            self._admission.correct(ticket, monotonic() - begin)
        self._metrics.count_scored(answer)
        return answer

    async def _score_audit(self, job: Job, *, timeout_seconds: float) -> Answer:
        """Score audit work: no query waits for it, so it is held back by number and not by cost."""
        begin = monotonic()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._audits.acquire()
        except TimeoutError as error:
            raise Overloaded(f"{AUDITS} audit requests are in hand here; send fewer at a time or allow more time") from error
        try:
            answer = await self._backend.score(job, timeout_seconds=max(0.0, timeout_seconds - (monotonic() - begin)))
        finally:
            self._audits.release()
        self._metrics.count_scored(answer)
        return answer

    async def probe(self) -> Answer:
        """Score one pair, past admission and breaker, and report to the breaker how it went."""
        try:
            # Another document each time, so that the model answers and not its cache.
            probe = Job(RerankRequest(PROBE_QUERY, [f"{PROBE_DOCUMENT} {monotonic()}"]))
            answer = await self._backend.score(probe, timeout_seconds=PROBE_SECONDS)
        except Exception:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return answer

    def _probe_when_due(self) -> None:
        if self._breaker.may_probe():
            task = asyncio.create_task(self._probe_quietly())
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def _probe_quietly(self) -> None:
        try:
            await self.probe()
            log.info("breaker closed")
        except Exception as error:  # reported to the breaker; the next caller sees it
            log.warning("breaker stays open error=%s", type(error).__name__)

    def _show(self, model: str) -> None:
        self._metrics.waiting.set(self._admission.waiting)
        self._metrics.backlog_seconds.labels(model).set(self._admission.backlog_seconds(model))
        self._metrics.breaker_open.set(self._breaker.is_open)
