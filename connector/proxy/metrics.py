"""The proxy's Prometheus metrics; their names are in ``slimrank.telemetry``."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from slimrank import telemetry

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one proxy, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(telemetry.PROXY_REQUESTS, "Requests answered", ["outcome", "reason"], registry=registry)
        self._seconds = Histogram(
            telemetry.PROXY_SECONDS, "From arrival to answer", ["outcome"], buckets=_SECONDS, registry=registry
        )
        self._partial = Counter(
            telemetry.PROXY_PARTIAL,
            "Searches whose deadline came before all hits of the window were scored",
            ["rule"],
            registry=registry,
        )
        self._shadow = Counter(telemetry.PROXY_SHADOW, "Searches tried in shadow", ["rule", "outcome"], registry=registry)
        self._moved = Counter(
            telemetry.PROXY_SHADOW_MOVED, "Ranks among the first ten that would have another hit", ["rule"], registry=registry
        )
        self._entered = Counter(
            telemetry.PROXY_SHADOW_ENTERED, "Hits that would enter the first ten", ["rule"], registry=registry
        )
        self._first = Counter(
            telemetry.PROXY_SHADOW_FIRST, "Searches that would have another first hit", ["rule"], registry=registry
        )

    def count(self, outcome: str, reason: str, seconds: float) -> None:
        """Count an answer. The part of the reason after a colon is detail and not part of the label."""
        self._requests.labels(outcome, reason.split(":")[0]).inc()
        self._seconds.labels(outcome).observe(seconds)

    def count_partial(self, reason: str) -> None:
        """Count a search in which some hits were not scored; the reason begins with the rule's name."""
        self._partial.labels(reason.split(":")[0].removeprefix("rule ")).inc()

    def count_shadow(self, rule: str, outcome: str) -> None:
        """Count a search of a shadow rule: compared, failed or dropped."""
        self._shadow.labels(rule, outcome).inc()

    def count_moves(self, rule: str, *, moved: int, entered: int, is_first_changed: bool) -> None:
        """Count what reranking would have moved."""
        self._moved.labels(rule).inc(moved)
        self._entered.labels(rule).inc(entered)
        self._first.labels(rule).inc(is_first_changed)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
