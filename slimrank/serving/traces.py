"""OpenTelemetry traces across gateway and worker, an extra (``otel``); does nothing unless told where to send them.

    POST with traceparent -> rerank (gateway) -> publish
                                              -> score (worker) -> queue, tokenise, infer

The gateway goes on with a caller's trace, or begins one, and hands it to the worker in the task's
arguments. Spans carry counts and times, never texts. Each process keeps its own clock, so spans of
two hosts may overlap by what their clocks differ.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slimrank import __version__
from slimrank.engine.jobs import Answer
from slimrank.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

HEADER = "traceparent"

_tracer: "Tracer | None" = None
_provider: "TracerProvider | None" = None


def configure(service: str, url: str | None, *, exporter: "SpanExporter | None" = None) -> None:
    """Trace from now on; called once, in ``main``.

    Args:
        service: Name of this process in traces.
        url: OTLP over HTTP, such as http://collector:4318/v1/traces; None leaves tracing off.
        exporter: Takes the spans at once instead, for tests.

    Raises:
        ConfigError: the extra is not installed.
    """
    global _tracer, _provider
    if url is None and exporter is None:
        _tracer = _provider = None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError as error:
        raise ConfigError("traces need OpenTelemetry; install slimrank[otel] or leave SLIMRANK_TRACES_URL out") from error
    _provider = TracerProvider(resource=Resource.create({"service.name": service, "service.version": __version__}))
    _provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=url)) if exporter is None else SimpleSpanProcessor(exporter)
    )
    _tracer = _provider.get_tracer("slimrank")


def flush() -> None:
    """Send what was not yet sent, before the process ends."""
    if _provider is not None:
        _provider.force_flush()


@contextmanager
def request(headers: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Trace a request, as part of the caller's trace if its headers name one.

    Yields:
        A place for attributes, which the span takes over at the end.
    """
    attributes: dict[str, int] = {}
    if _tracer is None:
        yield attributes
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span("rerank", context=_context(headers.get(HEADER)), kind=SpanKind.SERVER) as span:
        yield attributes
        span.set_attributes(attributes)


def here() -> str | None:
    """Return the current span in a traceparent's words; None where tracing is off."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)


def published(parent: str | None, begin_ns: int) -> None:
    """Record that a job was written to the queue between ``begin_ns`` and now."""
    if _tracer is not None:
        _tracer.start_span("publish", context=_context(parent), start_time=begin_ns).end()


def scored(parent: str | None, arrival_ns: int, answer: Answer) -> None:
    """Record an answer after the fact: how long it waited, was tokenised and was in the model."""
    if _tracer is None:
        return
    from opentelemetry.trace import set_span_in_context

    span = _tracer.start_span("score", context=_context(parent), start_time=arrival_ns)
    span.set_attributes({"slimrank.documents": len(answer.scored.scores), "slimrank.tokens": answer.scored.tokens})
    span.set_attribute("slimrank.model", answer.model.name)
    begin, tokenise = arrival_ns, answer.scored.tokenise_seconds
    for name, seconds in (("queue", answer.queue_seconds), ("tokenise", tokenise), ("infer", answer.infer_seconds - tokenise)):
        end = begin + int(max(0.0, seconds) * 1e9)
        _tracer.start_span(name, context=set_span_in_context(span), start_time=begin).end(end)
        begin = end
    span.end(max(begin, time.time_ns()))


def _context(traceparent: str | None) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # An empty context and not the current one: what a caller sent is all that counts.
    return TraceContextTextMapPropagator().extract({HEADER: traceparent} if traceparent else {}, context=Context())
