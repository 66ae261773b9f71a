"""One thread that owns the model and answers jobs slice by slice.

A session is used by one thread only. Whoever has a job, a Celery task's thread or the gateway's
event loop, submits it and waits on its future; cancelling the future takes the job back, whether it waits or is being scored.
Whose job is next says ``turns``; audit work is done only while no query waits. A job is scored in slices that are short in time
(``slices``), so that whoever comes waits for at most one slice of anybody else's, and a job whose deadline passed, or whose caller
left, costs at most one more. Before each slice but the first the loop asks whether the job is still wanted.
Jobs of one document that queued while the model was busy are scored in one run (``merging``), and
apart should that fail. A job that takes a partial answer is scored in slices that fit into what is left of its time
(``anytime``), and answered with what there is.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from slimrank.engine.anytime import estimated_tokens
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.merging import MOST, goes_with
from slimrank.engine.model import Model
from slimrank.engine.slices import CascadeSlices, PlainSlices
from slimrank.engine.turns import Turns
from slimrank.errors import DeadlineExceeded, ModelNotReady, ScoringError
from slimrank.scoring import only_first
from slimrank.types import Scored

log = logging.getLogger(__name__)

REPLY_SECONDS = 0.02
"""The part of a job's time that is kept for sending the answer."""
REPLY_SHARE = 0.05
"""The same for a partial answer, as a share of its time: it is sent at the last moment, and a late answer is useless."""
STUCK_SECONDS = 20.0
"""A slice that takes this long, and ten times what was expected, is taken to be stuck."""
STUCK_TIMES = 10


@dataclass(slots=True)
class _Waiting:
    job: Job
    future: Future[Answer]
    arrival: float
    deadline: float
    is_wanted: Callable[[], bool]
    begin: float | None = None
    infer_seconds: float = 0.0
    had_seconds: float = 0.0
    """The time that the job used in its present turn (``turns``)."""
    slices: PlainSlices | CascadeSlices | None = None

    def left_seconds(self, now: float) -> float:
        """Return the time for scoring: what is left, less the time for sending the answer."""
        return self.deadline - max(REPLY_SECONDS, REPLY_SHARE * (self.deadline - self.arrival)) - now


class ScoringLoop:
    """Runs a model in a thread of its own.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, model: Model, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self._clock = clock
        self._queries: Turns[_Waiting] = Turns()
        self._audits: Turns[_Waiting] = Turns()
        self._changed = threading.Condition()
        self._stopping = False
        self._overdue = float("inf")
        """The time at which the present slice counts as stuck."""
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
        """Return whether the model is stuck: a slice does not end. The time of a whole job is no sign of that."""
        is_gone = self._thread.ident is not None and not self._thread.is_alive() and not self._stopping
        return is_gone or self._clock() > self._overdue

    def submit(self, job: Job, *, timeout_seconds: float, is_wanted: Callable[[], bool] = lambda: True) -> "Future[Answer]":
        """Queue a job; its future holds the answer or the error. Cancelling it takes the job back, from now or from the next slice on.

        Args:
            is_wanted: Asked before each slice but the first: whether somebody still waits. Whoever learns of it later than the
                next slice begins, as by looking now and then, would have that slice scored in vain.
        """
        now = self._clock()
        future: Future[Answer] = Future()
        with self._changed:
            if self._stopping:
                future.set_exception(ModelNotReady("this worker is shutting down; send the request again"))
                return future
            self._queue(job).add(job.caller, _Waiting(job, future, now, now + timeout_seconds, is_wanted))
            self._changed.notify()
        return future

    def _queue(self, job: Job) -> Turns[_Waiting]:
        return self._audits if job.priority == "audit" else self._queries

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            company = [waiting]
            try:
                company = self._company(waiting)
                for one in self._left_over(company):
                    self._turn(one)
            except Exception:  # a fault of this loop; it must not end with it
                log.exception("scoring failed jobs=%d", len(company))
                for one in company:
                    if not one.future.done():
                        _fail(one, ScoringError("the scoring thread failed; its log says more"))
            self._overdue = float("inf")

    def _next(self) -> _Waiting | None:
        """Return the job to go on with, or None at the end."""
        with self._changed:
            while not self._queries and not self._audits and not self._stopping:
                self._changed.wait()
            return self._pop(self._queries or self._audits)

    def _pop(self, queue: Turns[_Waiting]) -> _Waiting | None:
        if not queue:
            return None
        waiting, had_seconds = queue.pop()
        waiting.had_seconds = had_seconds
        return waiting

    def _turn(self, waiting: _Waiting) -> None:
        """Score one slice of a job, and queue it again if there are more."""
        begin = self._clock()
        try:
            is_done = not self._is_begun(waiting) or self._advance(waiting)
        except Exception as error:  # whatever a model raises belongs to the one who asked
            _fail(waiting, error)
            is_done = True
        seconds = self._clock() - begin
        with self._changed:
            queue = self._queue(waiting.job)
            if not is_done:
                queue.give_back(waiting.job.caller, waiting, waiting.had_seconds + seconds)
            queue.charge(waiting.job.caller, seconds)

    def _company(self, first: _Waiting) -> list[_Waiting]:
        """Return a job and those that are next and can be one run with it, all in time."""
        company = [first]
        with self._changed:
            while self.model.merges and first.begin is None and len(company) < MOST:
                candidate = self._queries.peek()
                if candidate is None or candidate.begin is not None or not goes_with(candidate.job, first.job):
                    break
                wider = [*company, candidate]
                end = self._clock() + self.model.cost.seconds(sum(map(_tokens, wider))) + REPLY_SECONDS
                if end >= min(one.deadline for one in wider):
                    break
                company = wider
                self._pop(self._queries)
        return company

    def _left_over(self, company: list[_Waiting]) -> list[_Waiting]:
        """Score jobs in one run; return those that are to be scored by themselves: a lone one, or all that the run failed."""
        if len(company) == 1:
            return company
        begun = [one for one in company if self._is_begun(one)]
        if len(begun) < 2:
            return begun
        begin, tokens = self._clock(), [_tokens(one) for one in begun]
        self._expect(self.model.cost.seconds(sum(tokens)))
        try:
            answers = self.model.score_together([one.job for one in begun])
        except Exception as error:  # whose fault it is shows when each is scored by itself
            log.warning("score apart jobs=%d error=%s", len(begun), type(error).__name__)
            return begun
        share = (self._clock() - begin) / len(begun)  # what is learnt of it is the work that a request makes
        for one, answer in zip(begun, answers, strict=True):
            one.infer_seconds = share
            self._answer(one, answer, is_partial=False)
            with self._changed:
                self._queries.charge(one.job.caller, share)
        return []

    def _is_begun(self, waiting: _Waiting) -> bool:
        """Take a job in hand, unless it is already; tell whether anybody still wants it."""
        if waiting.future.cancelled():
            return False
        if waiting.begin is None:
            waiting.begin = self._clock()
        elif not waiting.is_wanted():
            _fail(waiting, DeadlineExceeded("nobody waits for this request any more"))
            return False
        return True

    def _expect(self, seconds: float) -> None:
        self._overdue = self._clock() + STUCK_SECONDS + STUCK_TIMES * seconds

    def _advance(self, waiting: _Waiting) -> bool:
        """Score one slice of a job; return whether that was the last."""
        begin = self._clock()
        self._expect(0.0)
        if waiting.slices is None:
            waiting.slices = self.model.slices(waiting.job, clock=self._clock)
        waiting.slices.prepare(waiting.left_seconds(begin))
        size = self._size(waiting, waiting.slices)
        if size is not None:
            self._expect(waiting.slices.seconds(size))
            waiting.slices.advance(size)
        waiting.infer_seconds += self._clock() - begin
        is_done = waiting.slices.is_done
        if is_done or size is None:
            self._answer(waiting, self._answer_of(waiting, waiting.slices.scored()), is_partial=not is_done)
            return True
        return False

    def _size(self, waiting: _Waiting, slices: PlainSlices | CascadeSlices) -> int | None:
        """Return how many texts to score next; None = answer with what there is.

        Raises:
            DeadlineExceeded: there is nothing to answer with, and no time.
        """
        now = self._clock()
        if waiting.job.takes_partial and isinstance(slices, PlainSlices):
            size = slices.size_within(waiting.left_seconds(now))
            if size or slices.has_scores:
                return size or None
            size, ends_late = 1, True
        else:
            size = slices.next_size()
            ends_late = now + slices.rest_seconds + REPLY_SECONDS >= waiting.deadline
        # A job that cannot end in time is not begun, unless no other job waits: the estimate may be wrong.
        if ends_late and (now >= waiting.deadline or self._queries):
            raise DeadlineExceeded(
                f"the request was dropped after {now - waiting.arrival:.2f} s, when it could no longer be answered in time"
            )
        return size

    def _answer_of(self, waiting: _Waiting, scored: Scored) -> Answer:
        return self.model.answer(only_first(scored, len(waiting.job.request.documents)), waiting.job)

    def _answer(self, waiting: _Waiting, answer: Answer, *, is_partial: bool) -> None:
        queue_seconds = (waiting.begin or waiting.arrival) - waiting.arrival
        answer = replace(answer, queue_seconds=queue_seconds, infer_seconds=waiting.infer_seconds, is_partial=is_partial)
        if waiting.future.set_running_or_notify_cancel():
            waiting.future.set_result(answer)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if waiting.future.set_running_or_notify_cancel():
        waiting.future.set_exception(error)


def _tokens(waiting: _Waiting) -> int:
    return sum(map(estimated_tokens, waiting.job.request.documents))
