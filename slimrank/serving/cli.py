"""The commands ``serve``, ``worker`` and ``health``."""

import typer

from slimrank.errors import ModelNotReady
from slimrank.flags import with_settings
from slimrank.settings import Settings
from slimrank.telemetry import configure_logging

WORKER_ONLY = frozenset({"metrics_port", "worker_requests"})
GATEWAY_ONLY = frozenset(
    {
        "api_keys_file",
        "default_model",
        "embedded",
        "max_backlog_seconds",
        "max_bodies_bytes",
        "max_body_bytes",
        "max_documents",
        "max_waiting",
    }
    | {"port", "timeout_seconds", "tls_certificate", "tls_client_ca", "tls_key"}
)


@with_settings(without=WORKER_ONLY)
def serve(settings: Settings) -> None:
    """Run the HTTP gateway, over workers or with --embedded over a model of its own.

    Example: slimrank serve --embedded --port 8080
    """
    from slimrank.serving.gateway.server import run_gateway

    configure_logging(settings.log_level)
    run_gateway(settings)


@with_settings(without=GATEWAY_ONLY)
def worker(settings: Settings) -> None:
    """Run a scoring worker on the queue of its model.

    Example: slimrank worker --redis-url redis://127.0.0.1:6379/0
    """
    from slimrank.engine.model import Model
    from slimrank.serving.queue.worker import run_worker

    configure_logging(settings.log_level)
    run_worker(settings, Model.from_settings(settings))


def health() -> None:
    """Say whether a worker of this machine is alive; the exit status is 0 only if one is.

    Example: slimrank health
    """
    from slimrank.serving.queue.health import FRESH_SECONDS, main

    if main() != 0:
        raise ModelNotReady(
            f"no worker of this machine gave a sign of life within {FRESH_SECONDS:g} s; start one with `slimrank worker`, or look"
            " at its log: it gives none while its model hangs or Redis is gone"
        )
    typer.echo("a worker of this machine is alive")
