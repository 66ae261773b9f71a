"""A worker process: one model, one Celery worker of threads, and a sign of life in Redis.

The gateway learns from the signs of life which models are served and whom it may wait for.
SIGTERM is Celery's warm shutdown: jobs in hand are finished and answered, then the process ends.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from typing import Any

import redis
from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.platforms import EX_FAILURE
from prometheus_client import start_http_server

from slimrank.engine import redis_clients
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.errors import ModelNotReady
from slimrank.serving import traces
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import celery_app, health, messages, poison, tasks
from slimrank.settings import Settings

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
RESTART_SECONDS = 0.5
METRICS_SECONDS = 10.0


class WakingPool(TaskPool):  # type: ignore[misc]
    """Celery's threads, which wake its consumer when one is free again.

    A consumer whose threads are all taken sleeps until its next timer, up to a second, whenever
    they come free (Celery 5.6): a worker under load would idle for most of that.
    """

    def register_with_event_loop(self, hub: Any) -> None:
        """Take the event loop that is to be woken."""
        self._hub = hub

    def on_apply(self, *args: Any, **options: Any) -> Any:
        """Start a task in a thread."""
        result = super().on_apply(*args, **options)
        result.f.add_done_callback(lambda _: self._hub.call_soon(_nothing))
        return result


def _nothing() -> None:
    """Be what the event loop wakes up for."""


class SignOfLife:
    """Tells gateways that this worker is alive, until it is stopped, and not while its model hangs."""

    def __init__(self, store: redis.Redis, worker_id: str, scoring: ScoringLoop, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._scoring = scoring
        self._id = worker_id
        model = scoring.model
        said = {"model": model.identity.name, "document_tokens": model.document_tokens}
        self._message = json.dumps(said | {"host": socket.gethostname(), "pid": os.getpid()})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sign-of-life", daemon=True)

    def start(self) -> None:
        """Show the first sign and go on in a thread.

        Raises:
            ModelNotReady: Redis does not answer.
        """
        try:
            self._show()
        except redis.RedisError as error:
            raise ModelNotReady(redis_clients.trouble(self._settings, error)) from error
        self._thread.start()

    def stop(self) -> None:
        """Withdraw: no new work is meant for this worker."""
        self._stopping.set()
        self._thread.join()
        try:
            self._store.delete(messages.worker_key(self._id))
        except redis.RedisError:
            log.warning("withdraw worker=%s failed; the sign expires by itself", self._id)

    def _show(self) -> None:
        key, life_ms = messages.worker_key(self._id), int(health.FRESH_SECONDS * 1000)
        if not self._store.pexpire(key, life_ms):  # which even a full Redis allows
            with self._store.pipeline(transaction=False) as pipe:
                pipe.set(key, self._message, px=life_ms)
                pipe.sadd(messages.WORKERS_KEY, self._id)
                pipe.execute()
        health.touch()

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            if self._scoring.is_stuck:
                log.error("stuck worker=%s: the model does not come back; restart this worker", self._id)
                continue
            try:
                self._show()
            except Exception as error:  # mostly Redis; whatever it is, the next beat may do better
                log.warning("beat worker=%s failed error=%s", self._id, type(error).__name__, exc_info=_unless_redis(error))


def _unless_redis(error: Exception) -> Exception | None:
    return None if isinstance(error, redis.RedisError) else error


def run_worker(settings: Settings, model: Model) -> None:
    """Serve a model until SIGTERM or SIGINT.

    Raises:
        ModelNotReady: Redis does not answer.
        ConfigError: Redis cannot be used.
    """
    redis_clients.refuse_cluster(settings)
    traces.configure("slimrank-worker", settings.traces_url)
    store, app, worker_id = redis_clients.connect(settings), celery_app.make_app(settings), uuid.uuid4().hex
    scoring, metrics = ScoringLoop(model), Metrics()
    poison.tell(app, metrics.dropped.labels("task").inc)
    tasks.install(app, tasks.RerankTask(scoring, store, metrics, worker_id=worker_id))
    life = SignOfLife(store, worker_id, scoring, settings)
    life.start()
    scoring.start()
    if settings.metrics_port:
        server, _ = start_http_server(settings.metrics_port, addr=settings.host, registry=metrics.registry)
        handler: Any = server.RequestHandlerClass
        handler.timeout = METRICS_SECONDS  # else whoever says nothing keeps a thread for ever
    log.info("serving worker=%s model=%s redis=%s", worker_id, model.identity.name, redis_clients.address(settings))
    try:
        while _consume(app, settings, worker_id, model.identity.name) == EX_FAILURE:
            # One message that is not JSON ends Celery's consumer; it is gone from the queue, the next may be good.
            log.error("restart worker=%s: its consumer failed", worker_id)
            time.sleep(RESTART_SECONDS)
    finally:
        scoring.stop()
        life.stop()
        traces.flush()


def _consume(app: Celery, settings: Settings, worker_id: str, model: str) -> int:
    """Take tasks until told to end; return Celery's exit code."""
    consumer = app.Worker(
        pool=WakingPool,
        consumer_cls=poison.DroppingConsumer,
        concurrency=settings.worker_requests,
        queues=[messages.queue_name(model)],
        hostname=f"{worker_id}@{socket.gethostname()}",
        loglevel=settings.log_level.upper(),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    consumer.start()
    return int(consumer.exitcode or 0)
