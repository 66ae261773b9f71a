"""The Celery app and its settings, no tasks.

Redis is the broker; results do not go through Celery (a reply list does that, with deadlines
below a second); messages are JSON and never pickle. ``make_app`` is for processes that have their
settings; ``celery -A slimrank.serving.queue.celery_app`` finds the same app made from the environment.
"""

from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.backends.base import DisabledBackend

from slimrank import settings as process_settings
from slimrank.engine.redis_clients import (
    CONNECT_SECONDS,
    KEY_PREFIX,
    SOCKET_SECONDS,
    Sentinels,
    sentinels,
    socket_path,
    url_options,
)
from slimrank.serving.queue.poison import transport_of
from slimrank.settings import Settings


class _App(Celery):  # type: ignore[misc]
    """A Celery app that connects to the Redis of the settings and nowhere else.

    Celery lets CELERY_BROKER_URL, CELERY_BROKER_READ_URL, CELERY_BROKER_WRITE_URL and CELERY_RESULT_BACKEND of the environment,
    which may be meant for another program, win over what it is told.
    """

    def __init__(self, url: str, transport: type[Any]) -> None:
        super().__init__("slimrank", broker=url, set_as_current=False)
        self._url, self._transport = url, transport

    def _connection(self, url: str, **options: Any) -> Any:
        connection = super()._connection(self._url, **options)
        connection.transport_cls = self._transport
        return connection

    def _get_backend(self) -> Any:
        return DisabledBackend(app=self)


def make_app(settings: Settings) -> Celery:
    """Return the Celery app for these settings; nothing connects yet."""
    found = sentinels(settings.redis_url)
    app = _App(_broker(found) if found else _server(settings.redis_url), transport_of(has_sentinels=found is not None))
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            **({"master_name": found.master, "sentinel_kwargs": found.node_options} if found else {}),
        },
        broker_use_ssl=_tls(found.master_options if found else url_options(settings.redis_url)),
        result_backend=None,
        task_acks_late=False,  # sent again by the gateway, or by the audit that is run again: Redis redelivers nothing
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


def _server(redis_url: str) -> str:
    """Return one server's URL as kombu writes it: a socket has a scheme of its own."""
    if (path := socket_path(redis_url)) is None:
        return redis_url
    login, _, _ = urlsplit(redis_url).netloc.rpartition("@")
    at = f"{login}@" if login else ""
    return f"redis+socket://{at}{path}?virtual_host={url_options(redis_url).get('db', 0)}"


def _tls(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return kombu's options for TLS: a certificate is checked unless the URL says otherwise, as redis-py does and kombu does not."""
    if not options.get("ssl"):
        return None
    return {"ssl_cert_reqs": "required"} | {name: value for name, value in options.items() if name.startswith("ssl_")}


def __getattr__(name: str) -> Any:
    """Make ``app`` when Celery's own command line asks for it."""
    if name == "app":
        return make_app(process_settings.load())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
