"""One trace from the caller through gateway and worker: nothing lost on the way, no text in it, nothing done when off."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving import traces
from slimrank.serving.embedded_backend import EmbeddedBackend
from tests.doubles import FakeScorer
from tests.serving.conftest import over
from tests.serving.process import gateway, worker

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    traces.configure("test", None, exporter=exporter)
    yield exporter
    traces.configure("test", None)


def test_an_embedded_gateway_goes_on_with_the_callers_trace(spans: InMemorySpanExporter) -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer(seconds=0.05)))) as client:
        client.post("/v1/rerank", json=GOOD, headers=HEADERS)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {"rerank", "score", "queue", "tokenise", "infer"}
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert f"{found['rerank'].parent.span_id:016x}" == PARENT
    assert found["score"].parent.span_id == found["rerank"].context.span_id
    assert found["infer"].end_time - found["infer"].start_time >= 0.05e9
    assert all("pipe" not in str(value) for span in found.values() for value in span.attributes.values())


@pytest.mark.parametrize("header", ["", "00-zz-yy-01", "x" * 5000])
def test_an_invalid_traceparent_begins_a_new_trace(spans: InMemorySpanExporter, header: str) -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer()))) as client:
        assert client.post("/v1/rerank", json=GOOD, headers={"traceparent": header}).status_code == 200
    (root,) = [span for span in spans.get_finished_spans() if span.name == "rerank"]
    assert root.parent is None


def test_a_refusal_is_traced_with_its_status(spans: InMemorySpanExporter) -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer()))) as client:
        client.post("/v1/rerank", json={})
    (root,) = spans.get_finished_spans()
    assert root.attributes["http.response.status_code"] == 422


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Run an OTLP collector that keeps what it is sent."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            received.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.redis
def test_gateway_and_worker_send_one_trace_to_the_collector(redis_url: str) -> None:
    with (
        collector() as (url, received),
        worker(redis_url=redis_url, fake_model="traced", traces_url=url),
        gateway(redis_url=redis_url, traces_url=url, default_model="traced") as gate,
    ):
        answer = httpx.post(f"{gate}/v1/rerank", json=GOOD | {"model": "traced"}, headers=HEADERS, timeout=30)
        assert answer.status_code == 200
    spans = [
        ({entry.key: entry.value.string_value for entry in resource.resource.attributes}["service.name"], span)
        for resource in received
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    ]
    by_name = {span.name: span for _, span in spans}
    assert set(by_name) == {"rerank", "publish", "score", "queue", "tokenise", "infer"}
    assert by_name["score"].parent_span_id == by_name["publish"].parent_span_id == by_name["rerank"].span_id
    assert {process for process, span in spans if span.name == "score"} == {"slimrank-worker"}


def test_off_it_does_nothing() -> None:
    traces.configure("test", None)
    with traces.request(HEADERS) as attributes:
        attributes["x"] = 1
        assert traces.here() is None
