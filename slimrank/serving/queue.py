"""The Celery app and its settings, no tasks.

Redis is the broker; results do not go through Celery (a reply list does that, with deadlines
below a second); messages are JSON and never pickle. ``make_app`` is for processes that have their
settings; ``celery -A slimrank.serving.queue`` finds the same app made from the environment.
"""

from typing import Any
from urllib.parse import urlsplit

import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from slimrank import settings as process_settings
from slimrank.serving.messages import KEY_PREFIX
from slimrank.settings import Settings

CONNECT_SECONDS = 2.0
SOCKET_SECONDS = 10.0
"""Above the five seconds that a worker's blocking read may take."""


def make_app(settings: Settings) -> Celery:
    """Return the Celery app for these settings; nothing connects yet."""
    app = Celery("slimrank", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            # Query tasks are acknowledged on receipt and sent again by the gateway, so nothing may be redelivered late.
            "visibility_timeout": 3600,
        },
        result_backend=None,
        task_acks_late=False,
        task_ignore_result=True,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0},
        task_serializer="json",
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
    )
    return app


def connect(settings: Settings) -> redis.Redis:
    """Return a Redis client for jobs and replies; nothing connects yet."""
    return redis.Redis.from_url(settings.redis_url, **client_options())


def client_options() -> dict[str, Any]:
    """Return the options of every Redis client of ours: fail within seconds, try a dead connection again once."""
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": SOCKET_SECONDS,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 1),
    }


def address(settings: Settings) -> str:
    """Return where Redis is, without user or password, for messages."""
    parts = urlsplit(settings.redis_url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


def __getattr__(name: str) -> Any:
    """Make ``app`` when Celery's own command line asks for it."""
    if name == "app":
        return make_app(process_settings.load())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
