"""The commands of this package: ``rank``, ``evaluate``, ``serve`` and ``worker``."""

import logging

from slimrank.flags import with_settings
from slimrank.serving.offline import evaluate_collections as evaluate
from slimrank.serving.offline import rank
from slimrank.settings import Settings
from slimrank.telemetry import configure_logging

__all__ = ["evaluate", "rank", "serve", "worker"]

log = logging.getLogger(__name__)


@with_settings(without=frozenset({"worker_requests"}))
def serve(settings: Settings) -> None:
    """Run the HTTP gateway, over workers or with --embedded over a model of its own.

    Example: slimrank serve --embedded --port 8080
    """
    from slimrank.serving.server import run_gateway

    configure_logging(settings.log_level)
    run_gateway(settings)


@with_settings(
    without=frozenset(
        {
            "host",
            "port",
            "embedded",
            "max_documents",
            "max_body_bytes",
            "timeout_seconds",
            "max_backlog_seconds",
            "max_waiting",
            "default_model",
        }
    )
)
def worker(settings: Settings) -> None:
    """Run a scoring worker on the queue of its model.

    Example: slimrank worker --redis-url redis://127.0.0.1:6379/0
    """
    from slimrank.serving.model import Model
    from slimrank.serving.worker import run_worker
    from slimrank.store import model_folder

    configure_logging(settings.log_level)
    run_worker(settings, Model.load(model_folder(settings), threads=settings.threads, batch_tokens=settings.batch_tokens))
