"""The counters of a gateway or a worker, for Prometheus; their names are in ``slimrank.telemetry``."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from slimrank import telemetry
from slimrank.engine.jobs import Answer

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files
        make: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter(telemetry.REQUESTS, "Requests answered", ["status"], **make)
        self._seconds = Histogram(telemetry.REQUEST_SECONDS, "From arrival to answer", buckets=_SECONDS, **make)
        self._queue = Histogram(telemetry.QUEUE_SECONDS, "Wait before the model began", buckets=_SECONDS, **make)
        self._tokenise = Histogram(telemetry.TOKENISE_SECONDS, "Part of that spent on tokenising", buckets=_SECONDS, **make)
        self._infer = Histogram(telemetry.INFER_SECONDS, "Time in the model", buckets=_SECONDS, **make)
        self._documents = Counter(telemetry.DOCUMENTS, "Documents scored", **make)
        self._tokens = Counter(telemetry.TOKENS, "Tokens through the model, padding not counted", **make)
        self._batch = Histogram(telemetry.BATCH_TOKENS, "Padded tokens of a batch", buckets=_TOKENS, **make)
        self._truncated = Counter(telemetry.TRUNCATED, "Documents cut to the pair length", **make)
        self._partial = Counter(telemetry.PARTIAL, "Answers whose deadline came before all documents were scored", **make)
        self._cached = Counter(telemetry.CACHED, "Documents whose score was known from an earlier request", **make)
        self._degraded = Counter(telemetry.DEGRADED, "Answers left in first-stage order", ["reason"], **make)
        self._info = Gauge(telemetry.MODEL_INFO, "1 for each model that has answered", ["model"], **make)
        self.resent = Counter(telemetry.RESENT, "Jobs sent a second time", **make)
        self.dropped = Counter(
            telemetry.DROPPED, "Messages in Redis that were dropped since they cannot be ours", ["what"], **make
        )
        self.waiting = Gauge(telemetry.WAITING, "Requests that wait for their answer", **make)
        self.backlog_seconds = Gauge(telemetry.BACKLOG_SECONDS, "Estimated wait of a new request", ["model"], **make)
        self.breaker_open = Gauge(telemetry.BREAKER_OPEN, "1 while requests are refused because scoring keeps failing", **make)
        self.workers = Gauge(telemetry.WORKERS, "Workers alive", ["model"], **make)

    def count_scored(self, answer: Answer) -> None:
        """Count what a model did."""
        self._queue.observe(answer.queue_seconds)
        self._infer.observe(answer.infer_seconds)
        self._tokenise.observe(answer.scored.tokenise_seconds)
        scored = answer.scored
        self._documents.inc(len(scored.scores) if scored.depth is None else scored.depth)
        self._cached.inc(scored.cached)
        self._partial.inc(answer.is_partial)
        self._tokens.inc(answer.scored.tokens)
        for tokens in scored.batch_tokens:
            self._batch.observe(tokens)
        self._truncated.inc(int(answer.scored.truncated.sum()))
        self._info.labels(answer.model.name).set(1)

    def count_request(self, status: int, seconds: float) -> None:
        """Count an answer of any kind."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def count_degraded(self, reason: str) -> None:
        """Count an answer in first-stage order."""
        self._degraded.labels(reason).inc()

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        return generate_latest(self.registry)
