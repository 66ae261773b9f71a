"""The Celery app and its settings, no tasks.

Redis is the broker; results do not go through Celery (a reply list does that, with deadlines
below a second); messages are JSON and never pickle. ``make_app`` is for processes that have their
settings; ``celery -A slimrank.serving.queue`` finds the same app made from the environment.
"""

from typing import Any
from urllib.parse import urlsplit

from celery import Celery

from slimrank import settings as process_settings
from slimrank.serving.messages import KEY_PREFIX
from slimrank.serving.redis_clients import CONNECT_SECONDS, SOCKET_SECONDS, Sentinels, sentinels
from slimrank.settings import Settings


def make_app(settings: Settings) -> Celery:
    """Return the Celery app for these settings; nothing connects yet."""
    found = sentinels(settings.redis_url)
    app = Celery("slimrank", broker=_broker(found) if found else settings.redis_url, set_as_current=False)
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
            **({"master_name": found.master, "sentinel_kwargs": found.node_options} if found else {}),
        },
        broker_use_ssl=_tls(found) if found else None,
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


def _broker(found: Sentinels) -> str:
    """Return Sentinels as kombu names them, one URL each."""
    master = urlsplit(found.url)
    login, _, _ = master.netloc.rpartition("@")
    at = f"{login}@" if login else ""
    return ";".join(f"sentinel://{at}{f'[{host}]' if ':' in host else host}:{port}{master.path}" for host, port in found.nodes)


def _tls(found: Sentinels) -> dict[str, Any] | None:
    options = found.master_options
    if not options.get("ssl"):
        return None
    return {name: value for name, value in options.items() if name.startswith("ssl_")} or {"ssl_cert_reqs": "required"}


def __getattr__(name: str) -> Any:
    """Make ``app`` when Celery's own command line asks for it."""
    if name == "app":
        return make_app(process_settings.load())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
