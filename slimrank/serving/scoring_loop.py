"""One thread that owns the model and answers jobs slice by slice.

A session is used by one thread only. Whoever has a job, a Celery task's thread or the gateway's
event loop, submits it and waits on its future. Queries are answered in the order they came; audit
work only while no query waits. A job is scored in slices, so that a query waits for at most one
slice of an audit, and a job whose deadline passed, or whose caller left, costs at most one more.
Jobs of one document that queued while the model was busy are scored in one run (``together``), and
apart should that fail. A job that takes a partial answer is scored in chunks that fit into what is left of its time
(``anytime``), and answered with what there is.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from slimrank.errors import DeadlineExceeded, ModelNotReady
from slimrank.serving.admission import Speed, cost_of
from slimrank.serving.anytime import first_depth, next_chunk
from slimrank.serving.backend import Answer, Job
from slimrank.serving.model import Model
from slimrank.serving.together import MOST, goes_with

log = logging.getLogger(__name__)

QUERY_SLICE = 256
AUDIT_SLICE = 16
"""Documents scored between two looks at the clock and at who else waits."""
REPLY_SECONDS = 0.02
"""Kept of a job's time for the answer's way back."""
REPLY_SHARE = 0.05
"""The same for a partial answer, as a part of its time: it is sent at the last moment, and one that comes late is none."""
STUCK_SECONDS = 5.0
"""A slice that still runs so long after its job's deadline will not come back."""


@dataclass(slots=True)
class _Waiting:
    job: Job
    future: Future[Answer]
    arrival: float
    deadline: float
    is_wanted: Callable[[], bool]
    begin: float | None = None
    infer_seconds: float = 0.0
    parts: list[Answer] = field(default_factory=list)
    done: int = 0
    wanted: int = 0
    """Documents to score, counted from the first."""
    tokens: list[int] = field(default_factory=list)
    """Of each document, where chunks are chosen by them."""

    def left_seconds(self, now: float) -> float:
        """Return the time for scoring: what is left, less the answer's way back."""
        return self.deadline - max(REPLY_SECONDS, REPLY_SHARE * (self.deadline - self.arrival)) - now


class ScoringLoop:
    """Runs a model in a thread of its own.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, model: Model, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self._clock = clock
        self._queries: deque[_Waiting] = deque()
        self._audits: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._running: _Waiting | None = None
        self._speed = Speed()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, wait_seconds: float = 30.0) -> None:
        """Finish the jobs that wait, refuse new ones, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    @property
    def is_stuck(self) -> bool:
        """Whether the model has not come back from a job that is long overdue."""
        running = self._running
        return running is not None and self._clock() > running.deadline + STUCK_SECONDS

    def submit(self, job: Job, *, timeout_seconds: float, is_wanted: Callable[[], bool] = lambda: True) -> "Future[Answer]":
        """Queue a job; its future holds the answer or the error. Cancelling it takes the job back.

        Args:
            is_wanted: Asked, in the scoring thread, just before the job would be scored.
        """
        now = self._clock()
        future: Future[Answer] = Future()
        with self._changed:
            if self._stopping:
                future.set_exception(ModelNotReady("this worker is shutting down; send the request again"))
                return future
            self._queue(job).append(_Waiting(job, future, now, now + timeout_seconds, is_wanted))
            self._changed.notify()
        return future

    def _queue(self, job: Job) -> deque[_Waiting]:
        return self._audits if job.priority == "audit" else self._queries

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            self._running = waiting
            for one in self._left_over(self._company(waiting)):
                self._turn(one)
            self._running = None

    def _turn(self, waiting: _Waiting) -> None:
        """Score one slice of a job, and queue it again if there are more."""
        self._running = waiting
        try:
            is_done = not self._is_begun(waiting) or self._advance(waiting)
        except Exception as error:  # whatever a model raises belongs to the one who asked
            waiting.future.set_exception(error)
            is_done = True
        if not is_done:
            with self._changed:
                self._queue(waiting.job).appendleft(waiting)

    def _company(self, first: _Waiting) -> list[_Waiting]:
        """Return a job and those that came right after it and can be one run with it, all in time."""
        company = [first]
        with self._changed:
            while self.model.merges and self._queries and len(company) < MOST:
                wider = [*company, self._queries[0]]
                end = self._clock() + self._speed.seconds(sum(cost_of(one.job) for one in wider)) + REPLY_SECONDS
                if not goes_with(self._queries[0].job, first.job) or end >= min(one.deadline for one in wider):
                    break
                company = wider
                self._queries.popleft()
        return company

    def _left_over(self, company: list[_Waiting]) -> list[_Waiting]:
        """Score jobs in one run; return those that are to be scored by themselves: a lone one, or all that the run failed."""
        if len(company) == 1:
            return company
        begun = [one for one in company if self._is_begun(one)]
        if len(begun) < 2:
            return begun
        begin = self._clock()
        try:
            answers = self.model.score_together([one.job for one in begun])
        except Exception as error:  # whose fault it is shows when each is scored by itself
            log.warning("score apart jobs=%d error=%s", len(begun), type(error).__name__)
            return begun
        seconds = self._clock() - begin
        self._speed.learn(sum(cost_of(one.job) for one in begun), seconds)
        for one, answer in zip(begun, answers, strict=True):
            one.parts, one.done, one.wanted = [answer], 1, 1
            one.infer_seconds = seconds / len(begun)  # its share: what is learnt of it is the work that a request makes
            self._answer(one)
        return []

    def _is_begun(self, waiting: _Waiting) -> bool:
        """Take a job in hand, unless it is already; tell whether anybody still wants it."""
        if waiting.begin is not None:
            return True
        if not waiting.future.set_running_or_notify_cancel():
            return False
        try:
            if not waiting.is_wanted():
                raise DeadlineExceeded("nobody waits for this request any more")
        except Exception as error:  # as below: Redis may not answer
            waiting.future.set_exception(error)
            return False
        waiting.begin = self._clock()
        return True

    def _next(self) -> _Waiting | None:
        """Return the job to go on with, or None at the end."""
        with self._changed:
            while not self._queries and not self._audits and not self._stopping:
                self._changed.wait()
            queue = self._queries or self._audits
            return queue.popleft() if queue else None

    def _advance(self, waiting: _Waiting) -> bool:
        """Score one slice of a job; return whether that was the last."""
        begin = self._clock()
        if not waiting.parts:
            self._plan(waiting)
        size = self._slice(waiting, begin)
        if not size and waiting.parts:
            self._answer(waiting)
            return True
        part = waiting.job.part(waiting.done, size)
        waiting.parts.append(self.model.score(part))
        waiting.done += size
        seconds = self._clock() - begin
        self._speed.learn(cost_of(part), seconds)
        if waiting.tokens:
            self.model.cost.learn_documents(waiting.tokens[waiting.done - size : waiting.done], seconds)
        waiting.infer_seconds += seconds
        if waiting.done < waiting.wanted:
            return False
        self._answer(waiting)
        return True

    def _plan(self, waiting: _Waiting) -> None:
        """Decide how many documents of a job are to be scored."""
        job = waiting.job
        waiting.wanted = len(job.request.documents)
        if job.takes_partial or job.depth is not None:
            waiting.tokens = self.model.token_counts(job)
            waiting.wanted = first_depth(job.depth, waiting.tokens, waiting.left_seconds(self._clock()), self.model.cost)

    def _slice(self, waiting: _Waiting, begin: float) -> int:
        """Return how many documents to score next; 0 = answer with what there is.

        Raises:
            DeadlineExceeded: there is nothing to answer with, and no time.
        """
        rest = waiting.wanted - waiting.done
        if waiting.job.takes_partial:
            size = next_chunk(waiting.tokens[waiting.done : waiting.wanted], waiting.left_seconds(begin), self.model.cost)
            if size or waiting.parts:
                return size
            size, ends_late = 1, True
        else:
            size = min(AUDIT_SLICE if waiting.job.priority == "audit" else QUERY_SLICE, rest)
            seconds = self._speed.seconds(cost_of(waiting.job.part(waiting.done, rest)))
            ends_late = begin + seconds + REPLY_SECONDS >= waiting.deadline
        # What cannot end in time is not begun, unless nobody else waits: the estimate may be wrong.
        if ends_late and (begin >= waiting.deadline or self._queries):
            raise DeadlineExceeded(
                f"the request was dropped after {begin - waiting.arrival:.2f} s, when it could no longer be answered in time"
            )
        return size

    def _answer(self, waiting: _Waiting) -> None:
        begin, count = waiting.begin or waiting.arrival, len(waiting.job.request.documents)
        answer = Answer.joined(waiting.parts, count, queue_seconds=begin - waiting.arrival, infer_seconds=waiting.infer_seconds)
        waiting.future.set_result(replace(answer, is_partial=waiting.done < waiting.wanted))
