"""Log format and the name of every metric. Measures nothing itself.

Log lines are one event each: a fixed verb, then key=value. Queries and documents are never
logged above debug. Metrics use base units, as Prometheus asks.
"""

import logging

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

REQUESTS = "slimrank_requests_total"
REQUEST_SECONDS = "slimrank_request_seconds"
DOCUMENTS = "slimrank_documents_total"
TOKENS = "slimrank_tokens_total"
TRUNCATED = "slimrank_truncated_documents_total"


def configure_logging(level: str) -> None:
    """Send log lines to standard error; called once, in ``main``."""
    logging.basicConfig(level=level.upper(), format=LOG_FORMAT, force=True)
