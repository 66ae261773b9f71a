"""Every client of ours stops reading an answer that unpacks to gigabytes at the limit, over a real socket."""

import asyncio
import gzip
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from connector.bounded import PLAIN_OR_GZIP, bounded, bounded_async
from connector.cluster import open_cluster
from connector.gateway_client import GatewayScorer
from connector.playground.rankers import GatewayRanker
from connector.playground.sources import EngineAddress, EngineSource
from connector.proxy.scorer import RemoteScorer
from slimrank.errors import SlimrankError

MEGABYTE = 2**20


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Yield a function that starts a server with one answer and returns its URL."""
    servers = []

    def start(body: bytes, encoding: str = "gzip") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-encoding", encoding)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that gives up
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def one_member(size: int) -> bytes:
    return gzip.compress(b" " * size, 1)


@pytest.mark.parametrize("size", [0, 1, MEGABYTE - 1, MEGABYTE, MEGABYTE + 1, 3 * MEGABYTE])
def test_an_answer_within_the_limit_is_read_completely(serve: Callable[..., str], size: int) -> None:
    body = gzip.compress(json.dumps({"a": "x" * size}).encode())
    with httpx.Client(headers=PLAIN_OR_GZIP, event_hooks=bounded(4 * MEGABYTE)) as client:
        assert len(client.get(serve(body)).json()["a"]) == size
    with httpx.Client(event_hooks=bounded(4 * MEGABYTE)) as client:
        assert client.get(serve(b'{"a": 1}', "identity")).json() == {"a": 1}


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (one_member(5 * MEGABYTE), "gzip", "longer than the limit of 4194304 bytes"),
        (b" " * 5 * MEGABYTE, "identity", "longer than the limit of 4194304 bytes"),
        (b"plain", "gzip", "cannot be unpacked"),
        (b"x", "br", "packed as 'br'"),
    ],
)
def test_an_answer_that_is_too_long_or_not_unpackable_raises_a_clear_error(
    serve: Callable[..., str], body: bytes, encoding: str, words: str
) -> None:
    url = serve(body, encoding)
    with httpx.Client(event_hooks=bounded(4 * MEGABYTE)) as client, pytest.raises(httpx.DecodingError, match=words):
        client.get(url)

    async def ask() -> None:
        async with httpx.AsyncClient(event_hooks=bounded_async(4 * MEGABYTE)) as client:
            await client.get(url)

    with pytest.raises(httpx.DecodingError, match=words):
        asyncio.run(ask())


def ask_playground_engine(url: str) -> None:
    asyncio.run(EngineSource(EngineAddress(url, "index", ("text",))).search("q", 10))


def ask_playground_gateway(url: str) -> None:
    asyncio.run(GatewayRanker(url).rank("q", ["a"], timeout_seconds=20))


def ask_proxy_scorer(url: str) -> None:
    asyncio.run(RemoteScorer(url).score("q", ["a"], instruction=None, timeout_seconds=20))


def ask_gateway(url: str) -> None:
    GatewayScorer(url).score("q", ["a"])


def ask_cluster(url: str) -> None:
    with open_cluster(url) as cluster:
        cluster.read("/")


@pytest.mark.parametrize("ask", [ask_playground_engine, ask_playground_gateway, ask_proxy_scorer, ask_gateway, ask_cluster])
def test_no_client_of_ours_unpacks_a_bomb(serve: Callable[..., str], ask: Callable[[str], None]) -> None:
    url = serve(one_member(400 * MEGABYTE))
    tracemalloc.start()
    try:
        with pytest.raises(SlimrankError, match="longer than the limit of"):
            ask(url)
        assert tracemalloc.get_traced_memory()[1] < 300 * MEGABYTE
    finally:
        tracemalloc.stop()
