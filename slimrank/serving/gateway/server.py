"""The gateway's process: chooses the backend, opens the port, drains on SIGTERM."""

import errno
import logging
import socket
import ssl
from typing import Any

import uvicorn
from fastapi import FastAPI

from slimrank.engine.model import Model
from slimrank.errors import ConfigError
from slimrank.serving import traces
from slimrank.serving.admission import Admission
from slimrank.serving.backend import Backend
from slimrank.serving.gateway.app import make_gateway
from slimrank.serving.gateway.protocol import options
from slimrank.serving.guarded import GuardedBackend
from slimrank.serving.metrics import Metrics
from slimrank.settings import Settings
from slimrank.store import place_of

log = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75


def run_gateway(settings: Settings, model: Model | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered first.

    Args:
        model: What an embedded gateway serves; left out, the one that the settings name.

    Raises:
        ConfigError: the address cannot be listened on, or the model that the settings name neither lies here nor ships.
        ManifestError: the model folder may not be served (embedded only).
    """
    _check_model(settings)
    traces.configure("slimrank-gateway", settings.traces_url)
    listener = listen(settings.host, settings.port)
    log.info("listening host=%s port=%d embedded=%s", settings.host, listener.getsockname()[1], settings.embedded)
    config = uvicorn_config(settings, make_app(settings, model))
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _check_model(settings: Settings) -> None:
    """Tell of a wrong model at once, also where workers load models and this process none."""
    try:
        place_of(settings.model, settings)
    except ConfigError as error:
        if settings.embedded:
            raise
        raise ConfigError(
            f"{error}. It is served with --embedded only: without, a gateway sends what it is asked to workers, which have models of"
            " their own"
        ) from error


def make_app(settings: Settings, model: Model | None = None) -> FastAPI:
    """Return the gateway's app with its backend: a model in this process, or the queue."""
    admission = Admission(settings.max_backlog_seconds, settings.max_waiting)
    metrics = Metrics()
    backend = _embedded(settings, model) if settings.embedded else _queued(settings, admission, metrics)
    return make_gateway(settings, GuardedBackend(backend, admission, metrics), metrics)


def uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """Return how the gateway is served over HTTP."""
    return uvicorn.Config(
        app,
        **options(),
        port=settings.port,
        # Longer than clients keep an idle connection, so that none is closed under a request on its way.
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        **_tls(settings),
        timeout_graceful_shutdown=int(settings.timeout_seconds) + 1,
    )


def _tls(settings: Settings) -> dict[str, Any]:
    if settings.tls_certificate is None and settings.tls_key is None and settings.tls_client_ca is None:
        return {}
    if settings.tls_certificate is None or settings.tls_key is None:
        raise ConfigError("HTTPS needs both a certificate and its key; set SLIMRANK_TLS_CERTIFICATE and SLIMRANK_TLS_KEY")
    for path in filter(None, (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)):
        if not path.is_file():
            raise ConfigError(f"there is no file {path}; see the settings SLIMRANK_TLS_*")
    options: dict[str, Any] = {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
    if settings.tls_client_ca is not None:
        options |= {"ssl_ca_certs": str(settings.tls_client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def _embedded(settings: Settings, model: Model | None) -> Backend:
    from slimrank.serving.embedded_backend import EmbeddedBackend

    if model is None:
        model = Model.from_settings(settings)
    return EmbeddedBackend(model)


def _queued(settings: Settings, admission: Admission, metrics: Metrics) -> Backend:
    from slimrank.engine import redis_clients
    from slimrank.serving.queue.queued_backend import QueuedBackend  # Celery is not needed by an embedded gateway

    redis_clients.refuse_cluster(settings)
    return QueuedBackend(settings, admission, metrics)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        cause = "another process listens there" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        raise ConfigError(f"cannot listen on {host} port {port}: {cause}; choose another with --host or --port") from error
