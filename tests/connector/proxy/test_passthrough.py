import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from connector.proxy.upstream import Upstream
from slimrank.errors import ConfigError
from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine, Received, Reply


def raw(port: int, request: bytes) -> bytes:
    """Send bytes, and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


def test_a_request_that_is_not_a_search_arrives_byte_for_byte(proxy: RunningProxy, engine: Engine) -> None:
    body = b'\x00\xff not json \r\n{"a": 1.10}'
    head = (
        b"PUT /a%2Fb/_doc/%C3%BC?x=%20y&x=&z HTTP/1.1\r\nHost: elsewhere.example\r\nAuthorization: Basic YTpi\r\n"
        b"X-Opaque-Id: One\r\nX-Opaque-Id: Two\r\nAccept-Encoding: br\r\nContent-Type: application/cbor\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    raw(proxy.port, head + body)
    received = engine.received[0]
    assert received.raw_head.startswith(b"PUT /a%2Fb/_doc/%C3%BC?x=%20y&x=&z HTTP/1.1\r\n")
    assert received.body == body
    names = {key.lower(): value for key, value in received.headers}
    assert names.keys() == {"host", "authorization", "x-opaque-id", "accept-encoding", "content-type", "content-length"}
    assert names["host"] == f"127.0.0.1:{engine.port}"
    assert [value for key, value in received.headers if key.lower() == "x-opaque-id"] == ["One", "Two"]


def test_an_answer_arrives_byte_for_byte_with_its_headers(proxy: RunningProxy, engine: Engine) -> None:
    body = gzip.compress(b'{"price":1.10}')
    headers = [
        ("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8"),
        ("X-Elastic-Product", "Elasticsearch"),
        ("Warning", "299 one"),
        ("Warning", "299 two"),
        ("Content-Encoding", "gzip"),
        ("Keep-Alive", "timeout=5"),
        ("x-slimrank", "somebody else's"),
    ]
    engine.reply = lambda _: Reply(status=418, headers=headers, body=body)
    answer = raw(proxy.port, b"GET /_cat/indices HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, content = answer.partition(b"\r\n\r\n")
    assert content == body
    assert head.startswith(b"HTTP/1.1 418 ")
    lines = {line.lower() for line in head.split(b"\r\n")[1:]}
    assert lines - {b"connection: close"} == {
        b"content-type: application/vnd.elasticsearch+json;compatible-with=8",
        b"x-elastic-product: elasticsearch",
        b"warning: 299 one",
        b"warning: 299 two",
        b"content-encoding: gzip",
        b"content-length: %d" % len(body),
        b"x-slimrank: passed; reason=not a search",
    }


def test_a_redirect_is_answered_and_not_followed(proxy: RunningProxy, engine: Engine) -> None:
    engine.reply = lambda _: Reply(status=302, headers=[("location", "http://169.254.169.254/")], body=b"")
    answer = proxy.http.get("/_cat/health")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://169.254.169.254/")
    assert len(engine.received) == 1


def test_cookies_of_one_caller_are_not_sent_for_another(proxy: RunningProxy, engine: Engine) -> None:
    engine.reply = lambda _: Reply(headers=[("set-cookie", "session=1"), ("content-type", "application/json")])
    assert httpx.get(proxy.url + "/").headers["set-cookie"] == "session=1"
    httpx.get(proxy.url + "/")
    assert engine.received[1].header("cookie") is None


@pytest.mark.parametrize(
    "line",
    [b"GET http://evil.example/_search HTTP/1.1", b"GET //evil.example/_search HTTP/1.1", b"GET /http://evil.example/ HTTP/1.1"],
)
def test_no_server_but_the_engine_is_called(proxy: RunningProxy, engine: Engine, line: bytes) -> None:
    raw(proxy.port, line + b"\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n")
    assert len(engine.received) == 1
    assert engine.received[0].target.startswith("/")
    assert engine.received[0].header("host") == f"127.0.0.1:{engine.port}"


def test_a_tunnel_is_refused(proxy: RunningProxy, engine: Engine) -> None:
    answer = raw(proxy.port, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n")
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert not engine.received


def test_a_head_request_has_its_length_and_no_body(proxy: RunningProxy, engine: Engine) -> None:
    def reply(request: Received) -> Reply:
        return Reply(status=200, body=b"")

    engine.reply = reply
    assert proxy.http.head("/products").status_code == 200


def test_an_answer_is_streamed_while_the_engine_still_writes(proxy: RunningProxy, engine: Engine) -> None:
    first_seen = threading.Event()

    def wait(number: int) -> None:
        if number == 1:
            assert first_seen.wait(10)

    engine.reply = lambda _: Reply(chunks=[b"first", b"second"], before_chunk=wait)
    with proxy.http.stream("GET", "/_cat/indices") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        first_seen.set()
        assert b"".join(pieces) == b"second"


def test_a_request_is_streamed_while_the_caller_still_writes(proxy: RunningProxy, engine: Engine) -> None:
    def parts() -> object:
        yield b'{"index":{}}\n'
        deadline = time.monotonic() + 10
        while not engine.received and time.monotonic() < deadline:
            # the head reaches the engine before the body ends; this test's engine reads whole bodies
            if proxy.parts.upstream._transport._pool.connections:  # type: ignore[attr-defined]
                break
            time.sleep(0.01)
        yield b"x" * 100_000

    answer = proxy.http.post("/_bulk", content=parts(), headers={"content-type": "application/x-ndjson"})  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert engine.received[0].body == b'{"index":{}}\n' + b"x" * 100_000
    assert engine.received[0].header("transfer-encoding") == "chunked"


def test_an_answer_that_breaks_off_does_not_look_complete(proxy: RunningProxy, engine: Engine) -> None:
    engine.reply = lambda _: Reply(chunks=[b"half"], breaks_off=True)
    with pytest.raises(httpx.RemoteProtocolError):
        proxy.http.get("/_cat/indices")


def test_an_engine_that_is_down_gives_an_error_in_the_engines_format(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy()
    engine.close()
    answer = proxy.http.get("/_cat/indices")
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["error"]["root_cause"][0]["reason"]
    assert answer.headers["x-slimrank"] == "passed; reason=the engine does not answer"
    assert proxy.search({"query": {"match": {"body": "red"}}}).status_code == 502


def test_a_search_is_cancelled_if_the_caller_hangs_up(proxy: RunningProxy, engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def reply(_: Received) -> Reply:
        begun.set()
        release.wait(10)
        return Reply(body=b"x" * 10_000_000)

    engine.reply = reply
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(b"GET /_cat/indices HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(10)
    deadline = time.monotonic() + 10
    while proxy.parts.upstream._transport._pool.connections and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.01)
    assert not proxy.parts.upstream._transport._pool.connections  # type: ignore[attr-defined]
    release.set()


def test_requests_go_below_the_path_of_the_engines_url(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(url=f"http://127.0.0.1:{engine.port}/es/")
    proxy.http.get("/_cat/indices?v")
    assert engine.received[0].target == "/es/_cat/indices?v"


def test_the_proxy_answers_health_and_metrics_itself(proxy: RunningProxy, engine: Engine) -> None:
    health = proxy.http.get("/_slimrank/health")
    assert (health.status_code, health.json()["status"], health.json()["rules"]) == (200, "ok", ["products"])
    proxy.http.get("/_cat/indices")
    assert proxy.metric('slimrank_proxy_requests_total{outcome="passed",reason="not a search"} 1.0')
    assert proxy.http.get("/_slimrank/other").status_code == 404
    assert len(engine.received) == 1
    proxy.app.is_draining = True
    assert proxy.http.get("/_slimrank/health").status_code == 503


@pytest.mark.parametrize("url", ["localhost:9200", "ftp://x", "http://", "http://u:p@localhost:9200", "http://x/?a=1"])
def test_an_invalid_upstream_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--upstream"):
        Upstream(url)


def test_an_invalid_ca_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ca-file"):
        Upstream("https://localhost:9200", ca_file=tmp_path / "missing.pem")


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


def tls_engine(certificate: tuple[Path, Path], *, wants_client_certificate: bool = False) -> Engine:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if wants_client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate[0])
    return Engine(wrap=lambda plain: context.wrap_socket(plain, server_side=True))


def test_an_engine_with_tls_is_reached_and_its_certificate_is_verified(
    start_proxy: StartProxy, certificate: tuple[Path, Path]
) -> None:
    engine = tls_engine(certificate)
    url = f"https://localhost:{engine.port}"
    trusting = start_proxy(upstream=Upstream(url, ca_file=certificate[0]))
    assert trusting.http.get("/_cat/indices").status_code == 200
    distrusting = start_proxy(upstream=Upstream(url))
    refused = distrusting.http.get("/_cat/indices")
    assert refused.status_code == 502
    assert "--ca-file" in refused.text
    careless = start_proxy(upstream=Upstream(url, verify=False))
    assert careless.http.get("/_cat/indices").status_code == 200
    engine.close()


def test_an_engine_that_wants_a_client_certificate_is_refused_with_a_clear_message(
    start_proxy: StartProxy, certificate: tuple[Path, Path]
) -> None:
    engine = tls_engine(certificate, wants_client_certificate=True)
    proxy = start_proxy(upstream=Upstream(f"https://localhost:{engine.port}", ca_file=certificate[0]))
    answer = proxy.http.get("/_cat/indices")
    assert answer.status_code == 502
    assert "client certificate" in answer.json()["error"]["reason"]
    assert "API key" in json.dumps(answer.json())
    engine.close()


@pytest.mark.parametrize(
    "header",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB",
        b"Connection: content-length",
        b"Connection: Content-Type, content-length, authorization, host",
        b"Connection: upgrade\r\nUpgrade: websocket",
    ],
)
def test_a_body_is_passed_on_completely_with_any_connection_header(proxy: RunningProxy, engine: Engine, header: bytes) -> None:
    body = b'{"title":"a shoe"}'
    head = b"PUT /products/_doc/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Basic YTpi\r\n" + header
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    received = engine.received[0]
    assert received.body == body
    names = {key.lower() for key, _ in received.headers}
    assert names == {"host", "content-type", "authorization", "content-length"}
