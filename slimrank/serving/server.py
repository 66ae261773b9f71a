"""The gateway's process: chooses the backend, opens the port, drains on SIGTERM."""

import errno
import logging
import socket

import uvicorn

from slimrank.errors import ConfigError
from slimrank.serving.backend import Backend
from slimrank.serving.gateway import make_gateway
from slimrank.serving.segments import GatheringProtocol
from slimrank.settings import Settings

log = logging.getLogger(__name__)

BACKLOG = 2048


def run_gateway(settings: Settings, backend: Backend | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered first.

    Raises:
        ConfigError: the address cannot be listened on.
        ManifestError: the model folder may not be served (embedded only).
    """
    backend = backend or _backend(settings)
    listener = _listen(settings)
    log.info("listening host=%s port=%d embedded=%s", settings.host, listener.getsockname()[1], settings.embedded)
    config = uvicorn_config(settings, backend)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def uvicorn_config(settings: Settings, backend: Backend) -> uvicorn.Config:
    """Return how the gateway is served over HTTP."""
    return uvicorn.Config(
        make_gateway(settings, backend),
        access_log=False,
        http=GatheringProtocol,
        log_config=None,
        port=settings.port,
        server_header=False,
        timeout_graceful_shutdown=int(settings.timeout_seconds) + 1,
    )


def _backend(settings: Settings) -> Backend:
    if settings.embedded:
        from slimrank.serving.embedded import EmbeddedBackend
        from slimrank.serving.model import Model
        from slimrank.store import model_folder

        return EmbeddedBackend(Model.load(model_folder(settings), threads=settings.threads, batch_tokens=settings.batch_tokens))
    from slimrank.serving.queued import QueuedBackend

    return QueuedBackend(settings)


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        cause = "another process listens there" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {cause}; choose another with --host or --port"
        ) from error
