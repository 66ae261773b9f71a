"""The gateway's side of the queue: jobs out through Celery, answers in through one reply list.

One reader a process takes answers from the list and hands each to the request it belongs to, so
no connection is held a request and deadlines need not be whole seconds. What could block, writing
the job and publishing the task, runs in a few threads of its own.

A job is sent a second time, once, when the worker that claimed it has fallen silent or when it
was lost on its way; whichever answer is first wins. Redis' redelivery is not relied on: it takes
seconds at best. Of the jobs that a worker may have died of one is sent at a time, so that the one that kills workers takes
nothing with it; when the second worker dies as well, the job fails.

What comes from Redis need not be ours: a message that cannot be is dropped and counted.
"""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import redis
from kombu.exceptions import OperationalError

from slimrank.engine import redis_clients
from slimrank.engine.jobs import Answer, Job
from slimrank.errors import DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, ScoringError
from slimrank.serving import traces
from slimrank.serving.admission import Admission, outstanding_of, together_of
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import celery_app, messages
from slimrank.serving.queue.background import Chore
from slimrank.settings import Settings

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
SIGN_MS = 2000
LOST_SECONDS = 1.0
"""A job that nobody claimed although its queue is empty for so long is taken for lost."""
DESERTED_SECONDS = 10.0
"""Requests for a model without a worker wait so long for one to come back, as in a restart."""
PUBLISHERS = 4
MOST_MODELS = 1000
"""The most models that are remembered."""
POISON = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""Errors of reading a sign of life that no worker of ours wrote."""
Sign = TypeVar("Sign")


@dataclass(slots=True)
class _Pending:
    """A request that waits for its answer."""

    model: str
    job: Job
    traceparent: str | None
    reply: asyncio.Future[dict[str, Any]]
    sent: float
    claimed_by: str | None = None
    was_lost: bool = False
    """Sent again because nobody claimed it."""
    is_suspect: bool = False
    """The worker that had claimed it died."""
    is_held: bool = False
    """It waits for another suspect to be answered."""


@dataclass(slots=True)
class _Workers:
    """Who is alive, as last seen: worker id -> model; None while Redis does not answer."""

    alive: dict[str, str] | None = None
    models: list[str] = field(default_factory=list)
    document_tokens: Mapping[str, int] = field(default_factory=dict)
    """Model -> tokens of a document that its workers read where a request does not say, as the one says that reads most."""
    gone: frozenset[str] = frozenset()
    """Models that were served within the last day, and are not now."""


class QueuedBackend:
    """Scores by sending jobs to workers through Redis."""

    def __init__(self, settings: Settings, admission: Admission, metrics: Metrics) -> None:
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._where = redis_clients.address(settings)
        self._app = celery_app.make_app(settings)
        self._store = redis_clients.connect(settings)
        self._id = uuid.uuid4().hex
        self._reply_to = messages.reply_key(self._id)
        self._publishers = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="publish")
        self._pending: dict[str, _Pending] = {}
        self._workers = _Workers()
        self._seen = 0.0
        self._missed = 0
        self._trouble: Exception | None = None
        """Why Redis did not answer last."""
        self._served: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._taken_aside: list[bytes] | None = None
        self._chores = (
            Chore("read replies", self._read_replies, expected=(redis.RedisError,), where=self._where),
            Chore("watch workers", self._watch, pause=self._watch_pause, expected=(redis.RedisError,), where=self._where),
        )

    def choose_model(self, wanted: str | None) -> str:
        """Return the model that would answer; see ``Backend``."""
        if self._workers.alive is None:
            raise ModelNotReady(redis_clients.trouble(self._settings, self._trouble))
        if not self._workers.models:
            raise ModelNotReady(f"no worker is running at Redis {self._where}; start one with `slimrank worker`")
        models = self._workers.models
        wanted = wanted or self._settings.default_model
        if wanted in models:
            return wanted
        if wanted is not None and (wanted in self._workers.gone or wanted == self._settings.default_model):
            raise ModelNotReady(
                f"no worker of {wanted} is left; start one with `slimrank worker`, or ask for one that is served: {', '.join(models)}"
            )
        if wanted is None or len(models) == 1:  # whatever it is called: clients of other servers must send a name
            return models[0]
        raise InvalidRequest(f'no worker serves the model "{wanted}"; served are {", ".join(models)}', status=404)

    def models(self) -> list[str]:
        """Return the names of the models that workers serve, the default one first; see ``Backend``."""
        default = self.choose_model(None)
        return sorted(self._workers.models, key=lambda name: name != default)

    def document_tokens(self, model: str) -> int:
        """Return what the workers of a model say; see ``Backend``."""
        return self._workers.document_tokens.get(model, 0)

    def failing(self) -> list[str]:
        """Return the names of the background loops that fail; see ``Backend``."""
        return [chore.name for chore in self._chores if chore.is_failing]

    async def start(self) -> None:
        """Look who is there and start reading answers."""
        # Never retried by the library: after a cut, what was taken aside must be read before more is taken.
        self._reader: Any = redis_clients.connect_async(self._settings, retries=0)
        self._watcher: Any = redis_clients.connect_async(self._settings)
        await self._look()
        for chore in self._chores:
            chore.start()

    async def stop(self) -> None:
        """Fail what still waits and close the connections."""
        for chore in self._chores:
            await chore.stop()
        self._fail_all("this gateway is shutting down; send the request again")
        await asyncio.to_thread(self._publishers.shutdown)
        with contextlib.suppress(redis.RedisError, OSError):
            await self._watcher.unlink(self._reply_to, self._reply_to + ":taken", messages.gateway_key(self._id))
        await self._reader.aclose()
        await self._watcher.aclose()
        self._store.close()
        self._app.close()

    async def score(self, job: Job, *, timeout_seconds: float) -> Answer:
        """Return the answer; see ``Backend``."""
        model = self.choose_model(job.model)
        request_id, loop = uuid.uuid4().hex, asyncio.get_running_loop()
        pending = _Pending(model, job, traces.here(), loop.create_future(), loop.time())
        publishing = self._publishers.submit(self._publish, request_id, pending, timeout_seconds)
        self._pending[request_id] = pending
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wrap_future(publishing)
                return messages.answer_of(await pending.reply, documents=len(job.request.documents))
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no worker answered within {timeout_seconds:.2f} s; send fewer documents, allow more time, or start more workers"
            ) from error
        finally:
            del self._pending[request_id]
            # Not before the job is written: a caller who leaves meanwhile would leave one behind that is scored to its end.
            publishing.add_done_callback(lambda _: self._forget(request_id))

    def _publish(self, request_id: str, pending: _Pending, timeout_seconds: float | None = None) -> None:
        """Write the job and its task; runs in a publisher thread.

        Args:
            timeout_seconds: What is left of the job's time; None = as long as the job lies there already, if it does.
        """
        begin_ns, key = time.time_ns(), messages.job_key(request_id)
        try:
            if timeout_seconds is not None:
                self._store.set(key, messages.encode_job(pending.job), px=max(1, int(timeout_seconds * 1000)))
            elif pending.is_suspect:
                self._store.set(key, messages.encode_job(replace(pending.job, is_suspect=True)), xx=True, keepttl=True)
            self._send_task(request_id, pending)
            traces.published(pending.traceparent, begin_ns)
        except redis.exceptions.OutOfMemoryError as error:
            raise Overloaded(f"Redis at {self._where} is full; raise its maxmemory or start more workers") from error
        except redis.exceptions.ResponseError as error:
            raise ModelNotReady(f"Redis at {self._where} refuses to write; see its log, its disk may be full") from error
        except (redis.RedisError, OperationalError) as error:
            raise ModelNotReady(redis_clients.trouble(self._settings, error)) from error

    def _send_task(self, request_id: str, pending: _Pending) -> None:
        """Publish the task; once more if the connection was cut under it. Sent twice, it is scored twice and answered once."""
        ids = [request_id, self._reply_to, *filter(None, [pending.traceparent])]
        arguments = {"args": ids, "queue": messages.queue_name(pending.model), "ignore_result": True}
        try:
            self._app.send_task(messages.TASK_NAME, **arguments)
        except (OperationalError, AttributeError):  # kombu 5.7 retries on a channel that it has closed
            try:
                self._app.send_task(messages.TASK_NAME, **arguments)
            except AttributeError as error:
                raise OperationalError("the connection was cut") from error

    def _forget(self, request_id: str) -> None:
        """Delete the job, so that nobody scores it any more; not waited for, and it would expire anyway."""

        def unlink() -> None:
            with contextlib.suppress(redis.RedisError):
                self._store.unlink(messages.job_key(request_id))

        with contextlib.suppress(RuntimeError):  # shutting down
            self._publishers.submit(unlink)

    async def _read_replies(self) -> None:
        """Hand out the replies that lie aside, and take the next one aside.

        A reply is moved aside in Redis, handed out and then deleted, so that one whose connection
        is cut on the way here is read again. Read twice, it is nobody's any more the second time.
        What lies aside is read at the start and whenever no reply has come for a second.
        """
        taken, left = self._reply_to + ":taken", self._taken_aside
        self._taken_aside = None  # read again, should this turn fail
        for reply in await self._reader.lrange(taken, 0, -1) if left is None else left:
            self._dispatch_message(reply)
        async with self._reader.pipeline(transaction=False) as pipe:  # both on one way there and back
            pipe.delete(taken)
            pipe.blmove(self._reply_to, taken, 1, "LEFT", "RIGHT")
            _, message = await pipe.execute()
        self._taken_aside = None if message is None else [message]

    def _dispatch_message(self, message: bytes) -> None:
        try:
            self._dispatch(messages.decode_reply(message))
        except Exception as error:  # it is handed out once, whatever it is
            self._drop("reply", error)

    def _dispatch(self, reply: dict[str, Any]) -> None:
        pending = self._pending.get(reply["id"])
        if pending is None or pending.reply.done():
            return
        if worker_id := reply.get("claimed_by"):
            pending.claimed_by = worker_id
            return
        pending.reply.set_result(reply)
        if pending.is_suspect:
            self._wake.set()  # the next one may be sent

    def _drop(self, what: str, error: Exception) -> None:
        self._metrics.dropped.labels(what).inc()
        log.error("drop %s error=%s: it is not one of ours", what, type(error).__name__)

    async def _watch(self) -> None:
        await self._look()
        if self._workers.alive is None:
            self._fail_all(f"Redis at {self._where} no longer answers; send the request again later")
        else:
            await self._send_lost_again(self._workers.alive)
            self._fail_deserted()

    async def _watch_pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), WATCH_SECONDS)
        self._wake.clear()

    async def _look(self) -> None:
        """See which workers are alive and what the other gateways have outstanding, and show our own."""
        now = asyncio.get_running_loop().time()
        try:
            signs = await self._signs(messages.WORKERS_KEY, messages.worker_key, messages.served_by)
            workers = {name: sign.model for name, sign in signs.items()}
            gateways = await self._signs(messages.GATEWAYS_KEY, messages.gateway_key, outstanding_of)
            served = frozenset(workers.values())
            gone = await self._remember(served) - served
            with contextlib.suppress(redis.exceptions.OutOfMemoryError):
                shown = {model: _rounded(callers) for model, callers in self._admission.here.items() if callers}
                await self._watcher.set(messages.gateway_key(self._id), json.dumps(shown), px=SIGN_MS)
                await self._watcher.sadd(messages.GATEWAYS_KEY, self._id)
        except redis.RedisError as error:
            # A connection that was cut is no lost Redis, and a look that comes late on a busy machine says nothing.
            self._missed += 1
            self._trouble = error
            if self._workers.alive is not None and self._missed > 1 and now - self._seen > LOST_SECONDS:
                log.warning("lost redis=%s error=%s", self._where, type(error).__name__)
                self._workers = _Workers()
            return
        self._seen, self._missed = now, 0
        self._workers = _Workers(workers, sorted(served), _tokens_read(signs.values()), gone)
        self._served |= dict.fromkeys(self._workers.models, now)
        self._admission.workers = Counter(workers.values())
        self._admission.elsewhere = together_of([sign for name, sign in gateways.items() if name != self._id])
        for model in self._workers.models:
            self._metrics.workers.labels(model).set(self._admission.workers[model])

    async def _signs(self, known_key: str, key_of: Callable[[str], str], read: Callable[[Any], Sign]) -> dict[str, Sign]:
        """Return the signs of life of all that are known, and drop the dead, and what is no sign, from the list of the known."""
        known = list(await self._watcher.smembers(known_key))
        signs = await self._watcher.mget([key_of(name.decode(errors="replace")) for name in known]) if known else []
        found, gone = {}, []
        for name, sign in zip(known, signs, strict=True):
            try:
                if sign is None:
                    gone.append(name)
                else:
                    found[name.decode()] = read(json.loads(sign))
            except POISON as error:
                self._drop("sign of life", error)
                gone.append(name)
        if gone:
            await self._watcher.srem(known_key, *gone)
        return found

    async def _remember(self, served: frozenset[str]) -> frozenset[str]:
        """Note which models are served now; return all that were within the last day."""
        now = time.time()
        async with self._watcher.pipeline(transaction=False) as pipe:
            pipe.zrange(messages.MODELS_KEY, 0, MOST_MODELS - 1, desc=True)
            pipe.zremrangebyscore(messages.MODELS_KEY, 0, now - messages.MODELS_SECONDS)
            if served:
                pipe.zadd(messages.MODELS_KEY, dict.fromkeys(served, now))
            known, *_ = await pipe.execute(raise_on_error=False)
        return frozenset(name.decode(errors="replace") for name in known) if isinstance(known, list) else frozenset()

    async def _send_lost_again(self, alive: dict[str, str]) -> None:
        """Send again what nobody claimed, and, one at a time, what a worker died of perhaps."""
        now = asyncio.get_running_loop().time()
        empty: dict[str, bool] = {}  # by model, asked once however many wait
        for request_id, pending in list(self._pending.items()):
            if pending.reply.done() or pending.is_held or now - pending.sent < LOST_SECONDS:
                continue
            if pending.claimed_by is not None:
                self._suspect(request_id, pending, alive)
            elif not pending.was_lost and not pending.is_suspect:
                if pending.model not in empty:
                    empty[pending.model] = await self._is_empty(pending.model)
                if empty[pending.model] and pending.claimed_by is None:
                    pending.was_lost = True
                    await self._send_again(request_id, pending)
        for request_id, pending in self._next_suspects():
            pending.is_held, pending.sent = False, now
            await self._send_again(request_id, pending)

    def _suspect(self, request_id: str, pending: _Pending, alive: dict[str, str]) -> None:
        """Hold a job back whose worker is dead, or fail it if that was the second one."""
        if pending.claimed_by in alive:
            return
        if pending.is_suspect:
            log.error("fail id=%s: its worker died, sent again alone the next one did", request_id)
            pending.reply.set_exception(
                ScoringError("two workers died while they had this request, and it is not sent to a third; look at their logs")
            )
        else:
            log.warning("suspect id=%s claimed_by=%s", request_id, pending.claimed_by)
            pending.is_suspect, pending.is_held, pending.claimed_by = True, True, None

    def _next_suspects(self) -> list[tuple[str, _Pending]]:
        """Return the job of each model that may be sent, since no other suspect of it is under way."""
        suspects = [(name, one) for name, one in self._pending.items() if one.is_suspect and not one.reply.done()]
        busy = {one.model for _, one in suspects if not one.is_held}
        return list({one.model: (name, one) for name, one in reversed(suspects) if one.model not in busy}.values())

    async def _send_again(self, request_id: str, pending: _Pending) -> None:
        self._metrics.resent.inc()
        log.warning("resend id=%s is_suspect=%s", request_id, pending.is_suspect)
        with contextlib.suppress(ModelNotReady, Overloaded):
            await asyncio.get_running_loop().run_in_executor(self._publishers, self._publish, request_id, pending)

    async def _is_empty(self, model: str) -> bool:
        """Tell whether nothing waits in the queue of a model, as far as is known."""
        try:
            return int(await self._watcher.llen(redis_clients.KEY_PREFIX + messages.queue_name(model))) == 0
        except redis.RedisError:
            return False

    def _fail_deserted(self) -> None:
        """Fail the requests whose model has had no worker for a while, rather than let them wait for their deadline."""
        now = asyncio.get_running_loop().time()
        for pending in self._pending.values():
            if not pending.reply.done() and now - self._served.get(pending.model, 0.0) > DESERTED_SECONDS:
                pending.reply.set_exception(
                    ModelNotReady(f"the last worker of {pending.model} is gone; start one with `slimrank worker`")
                )

    def _fail_all(self, message: str) -> None:
        for pending in self._pending.values():
            if not pending.reply.done():
                pending.reply.set_exception(ModelNotReady(message))


def _tokens_read(signs: Iterable[messages.Serves]) -> dict[str, int]:
    """Return how many tokens of a document the workers of each model read at most; 0 = as many as the model takes."""
    found: dict[str, int] = {}
    for model, tokens in signs:
        known = found.get(model, tokens)
        found[model] = max(known, tokens) if known and tokens else 0
    return found


def _rounded(callers: dict[str, list[float]]) -> dict[str, list[float]]:
    return {caller: [round(seconds, 3) for seconds in works] for caller, works in callers.items()}
