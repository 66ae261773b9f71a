"""Bytes on a socket, as no decent client sends them: heads, trailers, upgrades and handshakes within limits."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway import protocol
from slimrank.serving.gateway.keys import new_key
from tests.doubles import FakeScorer
from tests.nodes import process
from tests.serving.conftest import over
from tests.serving.process import gateway
from tests.serving.test_security import is_open, write_keys

BODY = json.dumps({"query": "lead pipe", "documents": ["gold ring", "a lead pipe"]}).encode()
UPGRADES = {
    "Java": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nUpgrade: h2c\r\n",
    "websocket": b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n",
    "another": b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.0, quic\r\n",
}


@contextlib.contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    """Yield a connection to a client's server."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        yield connection


def answered(connection: socket.socket) -> bytes:
    """Return what the server says until it closes the connection, or has said a whole answer."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            said += piece
            head, _, body = said.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
            if length and len(body) >= int(length[0].split()[1]):
                break
    return said


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def request(*headers: bytes, body: bytes = BODY, length: bool = True) -> bytes:
    own = [
        b"Host: localhost",
        b"Content-Type: application/json",
        *([b"Content-Length: %d" % len(body)] if length else []),
        *headers,
    ]
    return b"POST /v1/rerank HTTP/1.1\r\n" + b"".join(header.rstrip() + b"\r\n" for header in own) + b"\r\n" + body


@pytest.mark.parametrize("name", UPGRADES)
@pytest.mark.parametrize("pieces", ["whole", "head, then body", "byte by byte"])
def test_the_body_of_a_request_that_offers_an_upgrade_is_read(client: httpx.Client, name: str, pieces: str) -> None:
    whole = request(UPGRADES[name])
    head = len(whole) - len(BODY)
    cuts = {"whole": [whole], "head, then body": [whole[:head], whole[head:]], "byte by byte": [bytes([b]) for b in whole]}
    with connected(client) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):  # the second on the same connection
            for piece in cuts[pieces]:
                connection.sendall(piece)
                time.sleep(0.01 if pieces == "head, then body" else 0)
            answer = answered(connection)
            assert status_of(answer) == 200, answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["index"] == 1


def test_a_chunked_body_behind_an_offer_is_read_and_the_next_request_too(client: httpx.Client) -> None:
    chunked = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, BODY[:10], len(BODY) - 10, BODY[10:])
    offer = request(UPGRADES["Java"], b"Transfer-Encoding: chunked", body=chunked, length=False)
    with connected(client) as connection:
        connection.sendall(offer + request(b"Connection: close"))
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1 200 OK") == 2


def test_an_offer_is_no_way_to_smuggle_a_request(client: httpx.Client) -> None:
    hidden = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(client) as connection:
        connection.sendall(request(UPGRADES["Java"], b"Connection: close", body=BODY + b" " + hidden))
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1") == 1 and status_of(said) == 400


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_with_http2_is_answered(client: httpx.Client) -> None:
    url = f"{client.base_url}/v1/rerank"
    command = ["curl", "-sS", "--http2", "-H", "content-type: application/json", "--data-binary", BODY.decode(), url]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert json.loads(done.stdout)["results"][0]["index"] == 1, done.stderr


def test_javas_client_as_it_comes_is_answered(client: httpx.Client, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("no Java here")
    source = tmp_path / "Ask.java"
    source.write_text("""
        import java.net.URI; import java.net.http.*;
        class Ask { public static void main(String[] a) throws Exception {
            HttpClient client = HttpClient.newHttpClient();  // HTTP/2 first, by an upgrade
            for (int i = 0; i < 2; i++) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(a[0])).header("content-type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofString(a[1])).build();
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                System.out.println(answer.statusCode() + " " + answer.body());
            } } }
    """)
    done = subprocess.run(
        [java, str(source), f"{client.base_url}/v1/rerank", BODY.decode()], capture_output=True, timeout=120, check=False
    )
    lines = done.stdout.decode().splitlines()
    assert [line[:4] for line in lines] == ["200 ", "200 "], done.stderr.decode()
    assert json.loads(lines[0][4:])["results"][0]["index"] == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 1_000_000,
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 2_000_000,
        b"GET /healthz HTTP/1.1\r\n" + b"x" * 2_000_000,
        b"GET /" + b"x" * 2_000_000,
        b"X" * 2_000_000,
    ],
    ids=["headers", "small headers", "a value", "a name", "a path", "a method"],
)
def test_a_large_head_is_refused_before_it_is_held(client: httpx.Client, head: bytes) -> None:
    with connected(client) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
        assert status_of(answered(connection)) in (431, 400, 0)  # 0: closed before it had said all
    assert client.get("/healthz").status_code == 200


def test_a_head_just_too_large_is_told_so(client: httpx.Client) -> None:
    for extra in (b"x: y\r\n" * 101, b"x: " + b"y" * protocol.MAX_HEAD_BYTES + b"\r\n"):
        with connected(client) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + extra + b"\r\n")
            answer = answered(connection)
        assert status_of(answer) == 431 and b"100 headers" in answer
    assert client.get("/healthz", headers={"x": "y" * 30_000}).status_code == 200


def test_a_trailer_is_no_header(tmp_path: Path) -> None:
    key, entry = new_key("shop")
    write_keys(tmp_path / "keys.json", entry)
    chunked = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\nx-slimrank-deadline-ms: oops\r\n\r\n" % (
        len(BODY),
        BODY,
        key.encode(),
    )
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), api_keys_file=tmp_path / "keys.json") as client:
        for headers, status in (((), 401), ((f"Authorization: Bearer {key}".encode(),), 200)):
            with connected(client) as connection:
                connection.sendall(request(b"Transfer-Encoding: chunked", *headers, body=chunked, length=False))
                assert status_of(answered(connection)) == status


def test_trailers_have_a_limit(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(request(b"Transfer-Encoding: chunked", body=b"5\r\n{    \r\n0\r\n", length=False))
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"x: y\r\n" * 1_000_000)
            connection.sendall(b"x")
        assert not answered(connection) or connection.recv(1) == b""


def test_slow_heads_are_cut_off_wherever_they_stop(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    starts = [b"", b"\r\n", b"GE", whole[:-2], whole, whole + whole[:9], request(UPGRADES["Java"])[:150]]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connected(client)) for _ in starts]
        for connection, start in zip(connections, starts, strict=True):
            connection.sendall(start)
            connection.settimeout(3)
        kept = connections.pop(starts.index(whole))  # idle after an answer, it may be used again
        for connection in connections:
            while connection.recv(65536):
                pass
        kept.sendall(whole)
        assert status_of(answered(kept)) == 200


def test_of_many_waiting_connections_the_oldest_is_closed_and_new_callers_are_served(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_WAITING", 50)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(client)) for _ in range(200)]
        with httpx.Client(base_url=client.base_url) as another:
            assert another.get("/healthz").status_code == 200
        for connection in silent[:100]:
            connection.settimeout(5)
            assert connection.recv(1) == b""


def test_a_silent_tls_handshake_is_cut_off(certificates: Path) -> None:
    port = process.free_port()
    options = {"tls_certificate": certificates / "cert.pem", "tls_key": certificates / "key.pem"}
    trusting = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with (
        gateway(embedded=True, is_up=lambda: is_open(port), port=port, **options),
        socket.create_connection(("127.0.0.1", port), timeout=20) as silent,
    ):
        begin = time.monotonic()
        assert httpx.post(f"https://127.0.0.1:{port}/v1/rerank", content=BODY, verify=trusting).status_code == 200
        assert silent.recv(1) == b""
        assert time.monotonic() - begin < protocol.HEAD_SECONDS + 3


def test_pipelined_requests_are_not_hoarded(client: httpx.Client) -> None:
    slow = json.dumps({"query": "slow", "documents": ["a"] * 100}).encode()
    with connected(client) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request(body=slow) + b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" * 10_000)
        while connection.recv(65536):
            pass
    assert client.get("/healthz").status_code == 200


def test_a_peer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.3)
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer()))) as client:
        body = json.dumps({"query": "q", "documents": ["a" * 12_000_000], "return_documents": True}).encode()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(10)
            deaf.connect((client.base_url.host, client.base_url.port))
            deaf.sendall(request(body=body))
            time.sleep(2)
            read = 0
            with contextlib.suppress(ConnectionResetError):
                while piece := deaf.recv(2**20):
                    read += len(piece)
            assert read < 12_000_000
        slow = client.post("/v1/rerank", content=body)
        assert len(slow.json()["results"][0]["document"]["text"]) == 12_000_000
