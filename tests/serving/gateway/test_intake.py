"""How bodies come in: the memory of all together, whose body is refused when it is spent, gzip, and pages in browsers."""

import contextlib
import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from slimrank.engine.model import Model
from slimrank.errors import ConfigError
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway.intake import Intake
from tests.doubles import FakeScorer
from tests.serving.conftest import over
from tests.serving.process import gateway_process

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe"]}
BODY = json.dumps(GOOD).encode()
MOST_MEGABYTES = 512
"""Two thirds of what docker-compose.yml and the chart allow a gateway."""


def peak_megabytes(process_id: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process_id}/status").read_text())
    assert found
    return int(found[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("documents", [1, 28], ids=["one document", "many documents"])
def test_six_large_bodies_at_once_fit_into_the_shipped_memory(documents: int) -> None:
    # One character beyond the basic plane makes Python hold four bytes for each of the others.
    text = "\U0001f600" + "x" * (29_000_000 // documents)
    body = json.dumps({"query": "q", "documents": [text] * documents}, ensure_ascii=False).encode()
    with gateway_process(embedded=True) as (url, running), ThreadPoolExecutor(6) as pool:

        def post(_: int) -> int:
            return httpx.post(
                f"{url}/v1/rerank", content=body, headers={"content-type": "application/json"}, timeout=60
            ).status_code

        statuses = list(pool.map(post, range(6)))
        assert set(statuses) <= {200, 429} and 200 in statuses
        assert httpx.post(f"{url}/v1/rerank", json=GOOD).status_code == 200
        assert peak_megabytes(running.pid) < MOST_MEGABYTES


@pytest.fixture
def narrow() -> Iterator[httpx.Client]:
    """Yield a client of a gateway that holds 4 MiB of bodies, and 3 MiB of large ones."""
    with over(
        EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), max_body_bytes=3 * 2**20, max_bodies_bytes=4 * 2**20
    ) as client:
        yield client


@contextlib.contextmanager
def sending(client: httpx.Client, size: int) -> Iterator[socket.socket]:
    """Have a body on its way of which the last byte is not sent."""
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size + 1}\r\n\r\n".encode()
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        connection.sendall(head + b" " * size)
        time.sleep(0.3)  # the last piece is still on its way
        yield connection


def test_the_largest_body_on_its_way_is_refused_and_small_ones_pass(narrow: httpx.Client) -> None:
    half = b" " * (2**20 + 2**19)
    with sending(narrow, 2**21) as larger, sending(narrow, 900_000) as smaller:
        assert narrow.post("/v1/rerank", content=BODY).status_code == 200  # there is room
        assert narrow.post("/v1/rerank", content=half + BODY).status_code == 200  # at the cost of the largest
        assert larger.recv(65536).startswith(b"HTTP/1.1 429 ")
        smaller.sendall(b" ")
        assert smaller.recv(65536).startswith(b"HTTP/1.1 400 ")
    answer = narrow.post("/v1/rerank", content=b" " * 2**21 + BODY)
    assert answer.status_code == 200, "what was held is free again"


def test_a_body_refused_for_want_of_room_may_come_again(narrow: httpx.Client) -> None:
    with sending(narrow, 2**20 + 2**18):
        answer = narrow.post("/v1/rerank", content=b" " * (2**21 + 2**19) + BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "too many bytes" in answer.json()["message"]


def test_a_budget_too_small_for_one_body_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="SLIMRANK_MAX_BODIES_BYTES to 134"):
        Intake(max_body_bytes=100, max_bytes=120)


# -- gzip --------------------------------------------------------------------------------------------------------------


def test_a_gzip_body_is_read(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", content=gzip.compress(BODY), headers={"content-encoding": "gzip"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["index"] == 1
    long = gzip.compress(json.dumps(GOOD | {"ignored": "x" * 2**21}).encode())
    assert client.post("/v1/rerank", content=long, headers={"content-encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * 50 * 2**20), "gzip", 413),
        (gzip.compress(BODY)[:-5], "gzip", 400),
        (gzip.compress(BODY) + b"more", "gzip", 400),
        (BODY, "gzip", 400),
        (b"", "gzip", 400),
        (BODY, "br", 415),
        (BODY, "gzip, gzip", 415),
        (BODY, "zstd", 415),
    ],
    ids=["bomb", "cut short", "something behind", "plain", "empty", "br", "twice", "zstd"],
)
def test_another_packed_body_is_refused_in_words(client: httpx.Client, body: bytes, encoding: str, status: int) -> None:
    answer = client.post("/v1/rerank", content=body, headers={"content-encoding": encoding})
    assert answer.status_code == status, answer.text
    assert client.post("/v1/rerank", content=BODY).status_code == 200


# -- pages in browsers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "application/vnd.elasticsearch+json;compatible-with=8"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "rebound.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8080"}, 421),
        ({"host": "localhost:8080"}, 200),
        ({"host": "[::1]:8080"}, 200),
    ],
)
def test_a_gateway_without_keys_takes_nothing_that_a_page_may_send(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/rerank", content=BODY, headers=headers)
    assert answer.status_code == status, answer.text


def test_a_rebound_name_reads_no_metrics(client: httpx.Client) -> None:
    assert client.get("/metrics", headers={"host": "rebound.example"}).status_code == 421
    assert client.get("/metrics").status_code == 200


def test_a_gateway_that_listens_for_all_answers_to_any_name_but_to_no_page() -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), host="0.0.0.0") as client:
        assert client.post("/v1/rerank", content=BODY, headers={"host": "gateway:8080"}).status_code == 200
        assert client.post("/v1/rerank", content=BODY, headers={"origin": "https://evil.example"}).status_code == 403
