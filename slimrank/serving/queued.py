"""The gateway's side of the queue: jobs out through Celery, answers in through one reply list.

One reader a process takes answers from the list and hands each to the request it belongs to, so
no connection is held a request and deadlines need not be whole seconds. What could block, writing
the job and publishing the task, runs in a few threads of its own.

A job is sent a second time, once, when the worker that claimed it has fallen silent or when it
was lost on its way; whichever answer is first wins. Redis' redelivery is not relied on: it takes
seconds at best.
"""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import redis
from kombu.exceptions import OperationalError

from slimrank.errors import DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded
from slimrank.serving import messages, queue, redis_clients, traces
from slimrank.serving.admission import Admission
from slimrank.serving.backend import Answer, Job
from slimrank.serving.metrics import Metrics
from slimrank.settings import Settings

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
READ_PAUSE_SECONDS = 0.1
SIGN_MS = 2000
LOST_SECONDS = 1.0
"""A job that nobody claimed although its queue is empty for so long is taken for lost."""
DESERTED_SECONDS = 10.0
"""Requests for a model without a worker wait so long for one to come back, as in a restart."""
PUBLISHERS = 4


@dataclass(slots=True)
class _Pending:
    """A request that waits for its answer."""

    model: str
    traceparent: str | None
    reply: asyncio.Future[dict[str, Any]]
    sent: float
    claimed_by: str | None = None
    attempts: int = 1


@dataclass(slots=True)
class _Workers:
    """Who is alive, as last seen: worker id -> model; None while Redis does not answer."""

    alive: dict[str, str] | None = None
    models: list[str] = field(default_factory=list)


class QueuedBackend:
    """Scores by sending jobs to workers through Redis."""

    def __init__(self, settings: Settings, admission: Admission, metrics: Metrics) -> None:
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._where = redis_clients.address(settings)
        self._app = queue.make_app(settings)
        self._store = redis_clients.connect(settings)
        self._id = uuid.uuid4().hex
        self._reply_to = messages.reply_key(self._id)
        self._publishers = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="publish")
        self._pending: dict[str, _Pending] = {}
        self._workers = _Workers()
        self._seen = 0.0
        self._missed = 0
        self._served: dict[str, float] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def choose_model(self, wanted: str | None) -> str:
        """Return the model that would answer; see ``Backend``."""
        if self._workers.alive is None:
            raise ModelNotReady(f"Redis at {self._where} does not answer; start it, or set SLIMRANK_REDIS_URL")
        if not self._workers.models:
            raise ModelNotReady(f"no worker is running at Redis {self._where}; start one with `slimrank worker`")
        models = self._workers.models
        if len(models) == 1:  # whatever it is called: clients of other servers must send a name
            return models[0]
        wanted = wanted or self._settings.default_model or models[0]
        if wanted in models:
            return wanted
        raise InvalidRequest(f'no worker serves the model "{wanted}"; served are {", ".join(models)}', status=404)

    def models(self) -> list[str]:
        """Return the names of the models that workers serve, the default one first; see ``Backend``."""
        default = self.choose_model(None)
        return sorted(self._workers.models, key=lambda name: name != default)

    async def start(self) -> None:
        """Look who is there and start reading answers."""
        # Never retried by the library: after a cut, what was taken aside must be read before more is taken.
        self._reader: Any = redis_clients.connect_async(self._settings, retries=0)
        self._watcher: Any = redis_clients.connect_async(self._settings)
        await self._look()
        self._chores |= {asyncio.create_task(self._read_forever()), asyncio.create_task(self._watch_forever())}

    async def stop(self) -> None:
        """Fail what still waits and close the connections."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
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
        pending = _Pending(model, traces.here(), loop.create_future(), loop.time())
        self._pending[request_id] = pending
        try:
            async with asyncio.timeout(timeout_seconds):
                await loop.run_in_executor(self._publishers, self._publish, request_id, pending, job, timeout_seconds)
                return messages.answer_of(await pending.reply)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no worker answered within {timeout_seconds:.2f} s; send fewer documents, allow more time, or start more workers"
            ) from error
        finally:
            del self._pending[request_id]
            self._forget(request_id)

    def _publish(self, request_id: str, pending: _Pending, job: Job | None, timeout_seconds: float) -> None:
        """Write the job, unless it is there from the first attempt, and its task; runs in a publisher thread."""
        begin_ns = time.time_ns()
        try:
            if job is not None:
                lifetime_ms = max(1, int(timeout_seconds * 1000))
                self._store.set(messages.job_key(request_id), messages.encode_job(job), px=lifetime_ms)
            self._send_task(request_id, pending)
            traces.published(pending.traceparent, begin_ns)
        except redis.exceptions.OutOfMemoryError as error:
            raise Overloaded(f"Redis at {self._where} is full; raise its maxmemory or start more workers") from error
        except redis.exceptions.ResponseError as error:
            raise ModelNotReady(f"Redis at {self._where} refuses to write; see its log, its disk may be full") from error
        except (redis.RedisError, OperationalError) as error:
            raise ModelNotReady(f"Redis at {self._where} does not answer; start it, or set SLIMRANK_REDIS_URL") from error

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

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read_replies()
            except redis.RedisError as error:
                log.warning("read replies failed error=%s", type(error).__name__)
                await asyncio.sleep(READ_PAUSE_SECONDS)

    async def _read_replies(self) -> None:
        """Hand replies out until the connection fails.

        A reply is moved aside in Redis, handed out and then deleted, so that one whose connection
        is cut on the way here is read again. Read twice, it is nobody's any more the second time.
        What lies aside is read at the start and whenever no reply has come for a second.
        """
        taken, message = self._reply_to + ":taken", None
        while True:
            left = [message] if message is not None else await self._reader.lrange(taken, 0, -1)
            for reply in left:
                self._dispatch_message(reply)
            async with self._reader.pipeline(transaction=False) as pipe:  # both on one way there and back
                pipe.delete(taken)
                pipe.blmove(self._reply_to, taken, 1, "LEFT", "RIGHT")
                _, message = await pipe.execute()

    def _dispatch_message(self, message: bytes) -> None:
        try:
            self._dispatch(messages.decode_reply(message))
        except ValueError:
            log.error("ignore reply: it is not one of ours")

    def _dispatch(self, reply: dict[str, Any]) -> None:
        pending = self._pending.get(reply["id"])
        if pending is None or pending.reply.done():
            return
        if worker_id := reply.get("claimed_by"):
            pending.claimed_by = worker_id
        else:
            pending.reply.set_result(reply)

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self._look()
            if self._workers.alive is None:
                self._fail_all(f"Redis at {self._where} no longer answers; send the request again later")
            else:
                await self._send_lost_again(self._workers.alive)
                self._fail_deserted()

    async def _look(self) -> None:
        """See which workers are alive and what the other gateways have outstanding, and show our own."""
        now = asyncio.get_running_loop().time()
        try:
            workers = await self._signs(messages.WORKERS_KEY, messages.worker_key)
            gateways = await self._signs(messages.GATEWAYS_KEY, messages.gateway_key)
            with contextlib.suppress(redis.exceptions.OutOfMemoryError):
                await self._watcher.set(messages.gateway_key(self._id), json.dumps(self._admission.here), px=SIGN_MS)
                await self._watcher.sadd(messages.GATEWAYS_KEY, self._id)
        except redis.RedisError as error:
            # A connection that was cut is no lost Redis, and a look that comes late on a busy machine says nothing.
            self._missed += 1
            if self._workers.alive is not None and self._missed > 1 and now - self._seen > LOST_SECONDS:
                log.warning("lost redis=%s error=%s", self._where, type(error).__name__)
                self._workers = _Workers()
            return
        self._seen, self._missed = now, 0
        alive = {worker: sign["model"] for worker, sign in workers.items()}
        self._workers = _Workers(alive, sorted(set(alive.values())))
        self._served |= dict.fromkeys(self._workers.models, now)
        self._admission.workers = Counter(alive.values())
        self._admission.elsewhere = _summed(sign for name, sign in gateways.items() if name != self._id)
        for model in self._workers.models:
            self._metrics.workers.labels(model).set(self._admission.workers[model])

    async def _signs(self, known_key: str, key_of: Callable[[str], str]) -> dict[str, dict[str, Any]]:
        """Return the signs of life of all that are known, and drop the dead from the list of the known."""
        known = [name.decode() for name in await self._watcher.smembers(known_key)]
        signs = await self._watcher.mget([key_of(name) for name in known]) if known else []
        if gone := [name for name, sign in zip(known, signs, strict=True) if sign is None]:
            await self._watcher.srem(known_key, *gone)
        return {name: json.loads(sign) for name, sign in zip(known, signs, strict=True) if sign is not None}

    async def _send_lost_again(self, alive: dict[str, str]) -> None:
        now = asyncio.get_running_loop().time()
        empty: dict[str, bool] = {}  # by model, asked once however many wait
        for request_id, pending in list(self._pending.items()):
            if pending.attempts > 1 or now - pending.sent < LOST_SECONDS:
                continue
            if pending.claimed_by is None and pending.model not in empty:
                empty[pending.model] = await self._is_empty(pending.model)
            is_lost = empty[pending.model] if pending.claimed_by is None else pending.claimed_by not in alive
            if not is_lost or pending.reply.done():
                continue
            pending.attempts += 1
            self._metrics.resent.inc()
            log.warning("resend id=%s claimed_by=%s", request_id, pending.claimed_by)
            with contextlib.suppress(ModelNotReady, Overloaded):
                await asyncio.get_running_loop().run_in_executor(self._publishers, self._publish, request_id, pending, None, 0.0)

    async def _is_empty(self, model: str) -> bool:
        """Tell whether nothing waits in the queue of a model, as far as is known."""
        try:
            return int(await self._watcher.llen(messages.KEY_PREFIX + messages.queue_name(model))) == 0
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


def _summed(signs: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for sign in signs:
        for model, seconds in sign.items():
            total[model] += seconds
    return total
