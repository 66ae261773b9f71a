"""Keys, rate limits, model grants and HTTPS: nobody gets in, and nothing is said of paths or texts."""

import json
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimrank.engine.model import Model
from slimrank.errors import ConfigError, InvalidRequest, Overloaded
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway import schemas
from slimrank.serving.gateway.bodies import read_object
from slimrank.serving.gateway.keys import KeyRing, new_key
from slimrank.serving.gateway.openapi import BODIES
from tests.doubles import FakeScorer
from tests.nodes import process
from tests.serving.conftest import over
from tests.serving.process import gateway

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe"]}


def write_keys(path: Path, *entries: Any) -> None:
    """Replace the key file at once, as a rotation would."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for entry in entries]}))
    partial.replace(path)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[tuple[httpx.Client, Path, str]]:
    """Yield a client of a gateway that asks for keys, the key file, and a key."""
    path = tmp_path / "keys.json"
    key, entry = new_key("shop")
    write_keys(path, entry)
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), api_keys_file=path) as client:
        yield client, path, key


def status(client: httpx.Client, authorization: str | None) -> int:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    return client.post("/v1/rerank", json=GOOD, headers=headers).status_code


def test_only_a_known_key_is_let_in(ring: tuple[httpx.Client, Path, str]) -> None:
    client, _, key = ring
    assert status(client, f"Bearer {key}") == 200
    assert status(client, f"bearer {key}") == 200
    for wrong in (None, "", key, f"Basic {key}", "Bearer", f"Bearer {key}x", f"Bearer {key[:-1]}", "Bearer \xff"):
        assert status(client, wrong) == 401
    answer = client.post("/v1/rerank", json=GOOD)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "unauthorized"
    assert client.get("/healthz").status_code == 200


def test_a_stranger_is_refused_before_the_body_is_read(ring: tuple[httpx.Client, Path, str]) -> None:
    client, _, _ = ring
    assert client.post("/v1/rerank", content=b"not json").status_code == 401


def test_keys_are_rotated_without_a_restart(ring: tuple[httpx.Client, Path, str]) -> None:
    client, path, old = ring
    new, entry = new_key("shop-2")
    write_keys(path, entry)
    time.sleep(1.1)
    assert (status(client, f"Bearer {old}"), status(client, f"Bearer {new}")) == (401, 200)
    path.write_text("{ half a file")
    time.sleep(1.1)
    assert status(client, f"Bearer {new}") == 200


def test_a_key_may_be_limited_in_rate(tmp_path: Path) -> None:
    key, entry = new_key("slow")
    write_keys(tmp_path / "keys.json", entry.model_copy(update={"requests_per_minute": 60.0}))
    now = [0.0]
    ring = KeyRing(tmp_path / "keys.json", clock=lambda: now[0])
    for _ in range(10):
        ring.admit(f"Bearer {key}")
    with pytest.raises(Overloaded, match="60 times a minute") as refused:
        ring.admit(f"Bearer {key}")
    assert 0 < refused.value.retry_after_seconds <= 1
    now[0] += 1.0
    assert ring.admit(f"Bearer {key}")


def test_a_key_may_be_limited_to_models(tmp_path: Path) -> None:
    key, entry = new_key("other")
    write_keys(tmp_path / "keys.json", entry.model_copy(update={"models": ["another"]}))
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), api_keys_file=tmp_path / "keys.json") as client:
        assert status(client, f"Bearer {key}") == 403


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"name": "a", "sha256": "short"}]}', '{"keys": 5}'])
def test_a_wrong_key_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json is not one"):
        KeyRing(path)
    with pytest.raises(ConfigError, match="the key file: cannot read"):
        KeyRing(tmp_path / "missing.json")


def test_the_file_holds_no_key(ring: tuple[httpx.Client, Path, str]) -> None:
    _, path, key = ring
    assert key not in path.read_text()


def test_https_and_client_certificates(certificates: Path) -> None:
    port = process.free_port()
    trusting = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    known = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    known.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    options = {"tls_certificate": certificates / "cert.pem", "tls_key": certificates / "key.pem"}
    with gateway(embedded=True, is_up=lambda: is_open(port), port=port, tls_client_ca=certificates / "ca.pem", **options):
        url = f"https://127.0.0.1:{port}/v1/rerank"
        assert httpx.post(url, json=GOOD, verify=known).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.post(url, json=GOOD, verify=trusting)


def is_open(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_no_text_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer()))) as client:
        for body in (
            GOOD | {"documents": ["a zirconium pipe"]},
            GOOD | {"documents": ["a zirconium pipe"], "top_n": 0},
            {"query": "fail", "documents": ["a zirconium pipe"]},
            {"query": "fault", "documents": ["zirconium"]},
        ):
            client.post("/v1/rerank", json=body)
    assert caplog.records
    assert "zirconium" not in caplog.text  # a word that no folder of a checkout has in its name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(set().union(*(body.model_fields for body in BODIES)))
TRIES = int(os.environ.get("SLIMRANK_TEST_TRIES", "300"))


@settings(max_examples=TRIES, deadline=None)
@given(st.binary(max_size=200) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_the_parser_fail_otherwise_than_in_words(body: bytes) -> None:
    try:
        call = schemas.parse(read_object(body, max_documents=100), max_documents=100)
    except InvalidRequest as error:
        assert error.status in (400, 413, 422)
        assert "\n" not in str(error)
    else:
        assert call.job.request.query.strip()
        "".join(call.job.request.documents).encode()


@pytest.mark.parametrize(
    ("head", "entry"),
    [
        ('{"query": "q", "documents": [', "1"),
        ('{"query": "q", "texts": [', "1"),
        ('{"query": "q", "documents": ["a"], "first_stage_ranks": [', '"1"'),
        ('{"query": "q", "documents": ["a"], "rank_fields": [', "1"),
        ('{"query": "q", "documents": [', '{"text": "a"}'),
        ('{"query": "q", "documents": ["a"], "ignored": [', '{"a":[1]}'),
        ('{"query": "q", "model": "unknown", "documents": [', '"a\\ud800"'),
    ],
    ids=["numbers", "texts", "ranks", "rank-fields", "objects", "ignored", "surrogates"],
)  # fmt: skip
def test_a_body_of_a_million_wrong_values_is_refused_at_once_and_briefly(head: str, entry: str) -> None:
    body = (head + (entry + ",") * (4_000_000 // (len(entry) + 1)) + entry + "]}").encode()
    begin = time.process_time()
    with pytest.raises(InvalidRequest) as refused:
        schemas.parse(read_object(body, max_documents=10_000), max_documents=10_000)
    assert time.process_time() - begin < 2  # one to fifteen seconds while every entry had its error
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("field", ["top_n", "deadline_ms", "depth", "first_stage_offset", "max_tokens_per_doc"])
@pytest.mark.parametrize("number", ["1" + "0" * 400, "1" + "0" * 5000, "-1" + "0" * 400, "1e400"])
def test_a_number_beyond_all_measure_is_refused(field: str, number: str) -> None:
    body = f'{{"query": "q", "documents": ["a", "b"], "first_stage_order": true, "{field}": {number}}}'.encode()
    with pytest.raises(InvalidRequest) as refused:
        schemas.parse(read_object(body, max_documents=100), max_documents=100)
    assert len(str(refused.value)) < 300


def test_one_field_named_many_times_is_read_once() -> None:
    fields = {"query": "q", "documents": [{"a": "text"}], "rank_fields": ["a"] * 100}
    assert schemas.parse(fields, max_documents=10).job.request.documents == ["text"]
    with pytest.raises(InvalidRequest, match="rank_fields should have at most 100 entries, found 101"):
        schemas.parse(fields | {"rank_fields": ["a"] * 101}, max_documents=1000)


def test_a_long_body_holds_up_no_other_caller() -> None:
    # over a real process: its one event loop answers both
    body = b'{"query": "q", "documents": [' + b"1," * 2_000_000 + b"1]}"
    with gateway(embedded=True) as url, httpx.Client(base_url=url, timeout=60) as caller, ThreadPoolExecutor(1) as pool:
        hostile = pool.submit(httpx.post, f"{url}/v1/rerank", content=body, timeout=60)
        waits = []
        while not hostile.done():
            begin = time.monotonic()
            assert caller.get("/healthz").status_code == 200
            waits.append(time.monotonic() - begin)
        assert hostile.result().status_code == 413
    assert max(waits) < 2
