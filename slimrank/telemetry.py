"""Log format and the name of every metric. Measures nothing itself.

Log lines are one event each: a fixed verb, then key=value. Queries and documents are never
logged above debug. Metrics use base units, as Prometheus asks; a counter is exported with
``_total`` behind its name.
"""

import logging
import os
import sys
import warnings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

REQUESTS = "slimrank_requests"
REQUEST_SECONDS = "slimrank_request_seconds"
QUEUE_SECONDS = "slimrank_queue_seconds"
TOKENISE_SECONDS = "slimrank_tokenise_seconds"
INFER_SECONDS = "slimrank_infer_seconds"
DOCUMENTS = "slimrank_documents"
TOKENS = "slimrank_tokens"
BATCH_TOKENS = "slimrank_batch_tokens"
TRUNCATED = "slimrank_truncated_documents"
DEGRADED = "slimrank_degraded"
PARTIAL = "slimrank_partial"
CACHED = "slimrank_cached_documents"
RESENT = "slimrank_resent"
DROPPED = "slimrank_dropped_messages"
WAITING = "slimrank_waiting_requests"
BACKLOG_SECONDS = "slimrank_backlog_seconds"
BREAKER_OPEN = "slimrank_breaker_open"
WORKERS = "slimrank_workers"
MODEL_INFO = "slimrank_model_info"
PROXY_REQUESTS = "slimrank_proxy_requests"
PROXY_SECONDS = "slimrank_proxy_seconds"
PROXY_PARTIAL = "slimrank_proxy_partial"
PROXY_SHADOW = "slimrank_proxy_shadow"
PROXY_SHADOW_MOVED = "slimrank_proxy_shadow_moved"
PROXY_SHADOW_ENTERED = "slimrank_proxy_shadow_entered"
PROXY_SHADOW_FIRST = "slimrank_proxy_shadow_first_changed"


OURS = ("slimrank", "training", "onnx_export", "connector", "deploy")
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
}
"""Environment variables that libraries read at import: they turn off the libraries' own progress bars and advice."""


def configure_logging(level: str, log_format: str = LOG_FORMAT) -> None:
    """Send our log lines to standard error, and libraries' from warnings on; at debug, all that they say from info on."""
    logging.basicConfig(level="INFO" if level.lower() == "debug" else "WARNING", format=log_format, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it has a level of its own, debug


def quiet_libraries() -> None:
    """Keep what libraries say of themselves off a user's terminal, where the user has not asked for it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
