"""One thread that owns the model and answers jobs in the order they came.

A session is used by one thread only. Whoever has a job, a Celery task's thread or the gateway's
event loop, submits it and waits on its future; jobs whose deadline passed, or whose caller left,
are dropped before they cost anything.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from slimrank.errors import DeadlineExceeded, ModelNotReady
from slimrank.serving.backend import Answer, Job
from slimrank.serving.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    future: Future[Answer]
    arrival: float
    deadline: float
    is_wanted: Callable[[], bool]


class ScoringLoop:
    """Runs a model in a thread of its own."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the job in hand, fail those that wait, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, job: Job, *, timeout_seconds: float, is_wanted: Callable[[], bool] = lambda: True) -> "Future[Answer]":
        """Queue a job; its future holds the answer or the error. Cancelling it takes the job back.

        Args:
            is_wanted: Asked, in the scoring thread, just before the job would be scored.
        """
        now = time.monotonic()
        future: Future[Answer] = Future()
        with self._changed:
            if self._stopping:
                future.set_exception(ModelNotReady("this worker is shutting down; send the request again"))
                return future
            self._waiting.append(_Waiting(job, future, now, now + timeout_seconds, is_wanted))
            self._changed.notify()
        return future

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            if waiting.future.set_running_or_notify_cancel():
                self._answer(waiting)

    def _next(self) -> _Waiting | None:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if not self._stopping:
                return self._waiting.popleft()
            for left in self._waiting:
                if left.future.set_running_or_notify_cancel():
                    left.future.set_exception(ModelNotReady("this worker is shutting down; send the request again"))
            return None

    def _answer(self, waiting: _Waiting) -> None:
        begin = time.monotonic()
        try:
            if begin >= waiting.deadline or not waiting.is_wanted():
                raise DeadlineExceeded(f"the request waited {begin - waiting.arrival:.2f} s and was dropped before it was scored")
            answer = self.model.score(waiting.job)
        except Exception as error:  # whatever a model raises belongs to the one who asked
            waiting.future.set_exception(error)
            return
        waiting.future.set_result(replace(answer, queue_seconds=begin - waiting.arrival, infer_seconds=time.monotonic() - begin))
