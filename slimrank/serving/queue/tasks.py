"""The rerank task: fetch the job, say who took it, score it, send the answer to who asked.

Runs in the threads of a Celery worker; the model runs in one thread of its own beside them
(``scoring_loop``), so what arrives while it is busy waits there and not in Redis' unacknowledged
set. A task never raises: an error is an answer too.
"""

import logging
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from time import time_ns

import redis
from celery import Celery

from slimrank.engine.jobs import Answer, Job
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.errors import DeadlineExceeded, ModelNotReady, ScoringError, SlimrankError
from slimrank.serving import traces
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import messages

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""Between two looks whether somebody still waits; a job that is being scored is looked at before each slice as well."""
POISON = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""Errors of reading a job that no gateway of ours wrote."""
GONE = ModelNotReady("the request was gone from Redis before its deadline, as when Redis' clock is set; send it again")


class RerankTask:
    """The work of one worker process on a message."""

    def __init__(self, scoring: ScoringLoop, store: redis.Redis, metrics: Metrics, *, worker_id: str) -> None:
        self._scoring = scoring
        self._metrics = metrics
        self._store = store
        self._worker_id = worker_id

    def __call__(self, request_id: str, reply_to: str, traceparent: str | None = None) -> None:
        """Score the job ``request_id`` if it is still wanted, and push the answer to the list ``reply_to``."""
        if not (isinstance(request_id, str) and isinstance(reply_to, str) and reply_to.startswith(messages.reply_key(""))):
            self._metrics.dropped.labels("task").inc()
            log.error("drop task: its arguments are not ours")
            return
        try:
            job, timeout_seconds = self._fetch(request_id, reply_to)
        except POISON as error:
            log.error("ignore job id=%s error=%s: it is not one of ours", request_id, type(error).__name__)
            self._reply(reply_to, messages.encode_error(request_id, ScoringError("the job in Redis cannot be read")))
            return
        if job is None:
            log.debug("dropped id=%s reason=expired", request_id)
            # Whoever still waits by his own clock learns it at once; mostly nobody does.
            self._reply(reply_to, messages.encode_error(request_id, GONE))
            return
        self._reply(reply_to, self._answer(request_id, job, timeout_seconds, traceparent))

    def _fetch(self, request_id: str, reply_to: str) -> tuple[Job | None, float]:
        key = messages.job_key(request_id)
        with self._store.pipeline(transaction=False) as pipe:
            pipe.pttl(key)
            pipe.get(key)
            pipe.rpush(reply_to, messages.encode_claim(request_id, self._worker_id))
            pipe.expire(reply_to, messages.REPLY_SECONDS)
            left_ms, message, *_ = pipe.execute()
        if message is None or left_ms <= 0:
            return None, 0.0
        return messages.decode_job(message), left_ms / 1000

    def _answer(self, request_id: str, job: Job, timeout_seconds: float, traceparent: str | None) -> bytes:
        arrival_ns = time_ns()
        key = messages.job_key(request_id)
        future = self._scoring.submit(job, timeout_seconds=timeout_seconds, is_wanted=lambda: self._is_wanted(key))
        try:
            answer = self._wait(future, key)
            self._metrics.count_scored(answer)
            traces.scored(traceparent, arrival_ns, answer)
            return messages.encode_answer(request_id, answer)
        except SlimrankError as error:
            return messages.encode_error(request_id, error)
        except Exception as error:  # the caller must not wait for its deadline because of a fault of ours
            log.exception("failed id=%s", request_id)
            text = f"the worker failed with {type(error).__name__}; its log says more"
            return messages.encode_error(request_id, ScoringError(text))

    def _wait(self, future: "Future[Answer]", key: str) -> Answer:
        """Return the answer; take the job back once its key is gone from Redis: nobody waits for it any more."""
        while True:
            try:
                return future.result(LOOK_SECONDS)
            except FutureTimeout:
                if future.done():  # the model's own error, of the same kind
                    raise
                if not self._is_wanted(key) and future.cancel():
                    raise DeadlineExceeded("nobody waits for this request any more") from None

    def _is_wanted(self, key: str) -> bool:
        """Tell whether somebody still waits for a job; where Redis cannot be asked, somebody may."""
        try:
            return bool(self._store.exists(key))
        except redis.RedisError:
            return True

    def _reply(self, reply_to: str, message: bytes) -> None:
        with self._store.pipeline(transaction=False) as pipe:
            pipe.rpush(reply_to, message)
            pipe.expire(reply_to, messages.REPLY_SECONDS)
            pipe.execute()


def install(app: Celery, task: RerankTask) -> None:
    """Register the rerank task on an app."""
    app.task(task.__call__, name=messages.TASK_NAME, ignore_result=True)
