"""The attacks. Each yields a line a try: what was wrong with it, or nothing where it was survived as it should be."""

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import redis

from slimrank.engine import redis_clients
from slimrank.serving.queue import messages
from tests.attack import files
from tests.attack.limits import limited
from tests.attack.stage import DOCUMENTS, Stage
from tests.connector.proxy.engine import Received, Reply

Tries = Iterator[str]
MEGABYTE = 2**20
GOOD = {"query": "moon", "documents": DOCUMENTS}


def _refused(answer: httpx.Response, *statuses: int) -> str:
    if answer.status_code in statuses and len(answer.content) < 2000:
        return ""
    return f"answered {answer.status_code} with {len(answer.content)} bytes, expected {statuses}"


# -- one request ---------------------------------------------------------------------------------------------------------


def wrong_elements(stage: Stage) -> Tries:
    """A million wrong elements in every list, and in fields that nobody reads."""
    heads = {
        '{"query": "q", "documents": [': ("1", "[1]", '{"text":1}', "null", '"a"'),
        '{"query": "q", "texts": [': ("1", "null"),
        '{"query": "q", "documents": ["a"], "first_stage_ranks": [': ("1", '"a"', "1e400"),
        '{"query": "q", "documents": ["a"], "rank_fields": [': ("1", '"a"'),
        '{"query": "q", "documents": ["a"], "ignored": [': ("{}", "[[]]", '{"a":{"b":[1]}}'),
    }
    for size in (MEGABYTE, 31 * MEGABYTE):
        for head, entries in heads.items():
            for entry in entries:
                body = (head + (entry + ",") * (size // (len(entry) + 1)) + entry + "]}").encode()
                is_harmless = "ignored" in head and size == MEGABYTE
                yield _refused(stage.post(body), 413, 422, 429, *([200] if is_harmless else []))


def odd_bodies(stage: Stage) -> Tries:
    """Depth, numbers beyond all measure, broken text, bombs."""
    numbers = ("1" + "0" * 400, "1" + "0" * 5000, "1e400", "-1" + "0" * 400)
    for name in ("top_n", "deadline_ms", "depth", "first_stage_offset", "max_tokens_per_doc", "priority"):
        for number in numbers:
            answer = stage.post(f'{{"query": "q", "documents": ["a"], "first_stage_order": true, "{name}": {number}}}'.encode())
            yield "" if answer.status_code in (200, 400, 422) else f"{name}: {answer.status_code}"
    for body in (
        b"[" * 10 * MEGABYTE,
        b'{"a":' * MEGABYTE,
        b"\xff" * MEGABYTE,
        b'"' * 10 * MEGABYTE,
        b"\0" * MEGABYTE,
        b"1" * MEGABYTE,
    ):
        yield _refused(stage.post(body), 400, 413, 422)
    bomb = gzip.compress(b" " * 200 * MEGABYTE)
    yield _refused(stage.post(bomb, headers={"content-encoding": "gzip"}), 413)
    for encoding in ("br", "deflate", "gzip, gzip", "x" * 1000):
        yield _refused(stage.post(b"x", headers={"content-encoding": encoding}), 415)
    long_name = {"query": "q", "documents": ["a"], "model": "m" * 10 * MEGABYTE}
    answer = stage.post(long_name)
    yield "" if answer.status_code in (200, 404, 422) and len(answer.content) < 5000 else f"a long name: {answer.status_code}"


def large_bodies(stage: Stage) -> Tries:
    """Twelve legal bodies of 30 MB, six at once, of text that is costly to hold."""
    for text in ("x" * 29 * MEGABYTE, "\U0001f600" + "x" * 29 * MEGABYTE):
        body = json.dumps({"query": "q", "documents": ["a", text], "max_tokens_per_doc": 5, "return_documents": True},
                          ensure_ascii=False).encode()  # fmt: skip
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _, body=body: stage.post(body, timeout=120).status_code, range(6)))
        yield from ("" if status in (200, 429) else f"answered {status}" for status in answers)


def long_document(stage: Stage) -> Tries:
    """One document of 28 MB of which five tokens are asked for, and in passages."""
    for text in (
        "word " * (28 * MEGABYTE // 5),
        "x" * 28 * MEGABYTE,
        "\u4e2d" * (28 * MEGABYTE // 3),
        " " * 28 * MEGABYTE + "end",
    ):
        for options in ({"max_tokens_per_doc": 5}, {"long_document": "max_passage", "deadline_ms": 5000}):
            body = json.dumps({"query": "q", "documents": ["a", text], **options}, ensure_ascii=False).encode()
            status = stage.post(body, timeout=120).status_code
            yield "" if status in (200, 429, 504) else f"answered {status}"


def many_documents(stage: Stage) -> Tries:
    """One key's requests of 10,000 documents, three at a time, and callers that hang up."""
    body = json.dumps({"query": "q", "documents": [f"document {place} of many " * 10 for place in range(10_000)]}).encode()
    with ThreadPoolExecutor(3) as pool:
        statuses = list(pool.map(lambda _: stage.post(body, timeout=120).status_code, range(3)))
    yield from ("" if status in (200, 429, 504) else f"answered {status}" for status in statuses)
    for _ in range(5):
        with contextlib.suppress(httpx.TimeoutException):
            stage.post(body, timeout=1)
        yield ""


# -- connections ---------------------------------------------------------------------------------------------------------


def _say(stage: Stage, server: str, data: bytes) -> bytes:
    """Send bytes; return what is said until the server closes the connection or is silent for two seconds."""
    with socket.create_connection(("127.0.0.1", stage.port(server)), timeout=20) as connection:
        said = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.sendall(data)
            connection.settimeout(2)
            while piece := connection.recv(65536):
                said += piece
        return said


def large_heads(stage: Stage) -> Tries:
    """58 MB of headers, small and large, a path and a name without end, trailers without end."""
    for server in ("gateway", "proxy", "playground"):
        start = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
        chunked = b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
        for begin, filler in ((start, b"x: y\r\n" * 10_000), (start + b"x: ", b"y" * 60_000), (start, b"z" * 60_000),
                              (b"GET /", b"p" * 60_000), (chunked, b"x: y\r\n" * 10_000)):  # fmt: skip
            said = b""
            with socket.create_connection(("127.0.0.1", stage.port(server)), timeout=20) as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(begin)
                    for _ in range(960):
                        connection.sendall(filler)
                with contextlib.suppress(ConnectionError, TimeoutError):
                    said = connection.recv(65536)
            yield "" if not said or said.split(b" ")[1] in (b"400", b"401", b"404", b"431") else f"{server}: {said[:40]!r}"


def slow_senders(stage: Stage) -> Tries:
    """300 heads, bodies and TLS handshakes that stop half way: cut after 10 s, and nobody else waits."""
    key = stage.keys["hostile"]
    body = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{".encode()
    search = b"POST /i/_search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    starts = [("gateway", b"POST /v1/re"), ("gateway", b""), ("gateway", body), ("proxy", b"GET /_c"), ("proxy", search),
              ("playground", b"GET / HTTP/1.1\r\nhost:"), ("tls", b""), ("tls", b"\x16\x03\x01")]  # fmt: skip
    with contextlib.ExitStack() as stack:
        held = []
        for server, start in starts:
            for _ in range(300 // len(starts)):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", stage.port(server)), timeout=20))
                connection.sendall(start)
                held.append((server, connection))
        deadline = time.monotonic() + 14
        for server, connection in held:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                while connection.recv(65536):
                    pass
                yield ""
            except ConnectionError:
                yield ""
            except TimeoutError:
                yield f"{server} still waits after 14 s"


def smuggling(stage: Stage) -> Tries:
    """Trailers that authenticate, upgrades, and two meanings of where a body ends."""
    key, good = stage.keys["honest"].encode(), json.dumps(GOOD).encode()
    hidden = b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
    trailer = b"%x\r\n%s\r\n0\r\nauthorization: Bearer %s\r\n\r\n" % (len(good), good, key)
    said = _say(
        stage,
        "gateway",
        b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" + trailer,
    )
    yield "" if b" 401 " in said[:20] else f"a trailer: {said[:40]!r}"
    for header in (b"content-length: 5\r\ntransfer-encoding: chunked", b"transfer-encoding: chunked\r\ntransfer-encoding: x",
                   b"content-length: 5\r\ncontent-length: 6", b"content-length: +5", b"content-length : 5",
                   b"transfer-encoding: \x0bchunked"):  # fmt: skip
        before = len(stage.engine.received)
        for server in ("gateway", "proxy"):
            said = _say(stage, server, b"POST /i/_doc HTTP/1.1\r\nhost: localhost\r\n" + header + b"\r\n\r\n0\r\n\r\n" + hidden)
            seen = [request.target for request in stage.engine.received[before:]]
            yield (
                ""
                if "/smuggled" not in seen or (server == "gateway" and said.count(b"HTTP/1.1") <= 2)
                else f"{server}: {header!r}"
            )
    offers = (
        b"connection: upgrade\r\nupgrade: h2c",
        b"connection: content-length",
        b"upgrade: websocket\r\nconnection: upgrade, close",
    )
    for offer in offers:
        head = b"PUT /i/_doc/1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 7\r\n" + offer
        said = _say(stage, "proxy", head + b'\r\n\r\n{"a":1}')
        arrived = stage.engine.received[-1]
        yield "" if said.startswith(b"HTTP/1.1 200") and arrived.body == b'{"a":1}' else f"{offer!r}: {said[:40]!r}"


def from_a_page(stage: Stage) -> Tries:
    """What a page in a browser can send to a gateway without keys on this machine."""
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}, {"content-type": "text/plain"},
                    {"content-type": "application/x-www-form-urlencoded"}, {"sec-fetch-site": "cross-site"}):  # fmt: skip
        own = {"content-type": "application/json"} | headers
        with httpx.Client(verify=False) as page:
            status = page.post(f"{stage.tls}/v1/rerank", content=json.dumps(GOOD), headers=own).status_code
        yield "" if status in (403, 415, 421) else f"{headers}: {status}"
        status = httpx.post(f"{stage.playground}/api/search", content='{"query": "q"}', headers=own).status_code
        yield "" if status in (403, 415, 421) else f"playground {headers}: {status}"


# -- behind the proxy ----------------------------------------------------------------------------------------------------


def bad_engine(stage: Stage) -> Tries:
    """An engine that is silent, trickles, breaks off or packs gigabytes, while other searches go on."""
    plain, silence = stage.engine.search, threading.Event()

    def reply(request: Received) -> Reply:
        if "silent" in request.target:
            silence.wait(20)
        if "bomb" in request.target:
            return Reply(headers=[("content-type", "application/json"), ("content-encoding", "gzip")], body=bomb)
        if "long" in request.target:
            return Reply(body=b'{"hits":{"hits":[' + b" " * 40 * MEGABYTE)
        if "broken" in request.target:
            return Reply(chunks=[b'{"hits":'], breaks_off=True)
        return plain(request)

    bomb = gzip.compress(b" " * 400 * MEGABYTE, 1)
    stage.engine.reply = reply
    search = {"query": {"match": {"text": "moon"}}, "ext": {"slimrank": {"deadline_ms": 600_000, "fields": ["text"]}}}
    headers = {"accept-encoding": "gzip"}
    with ThreadPoolExecutor(8) as pool:

        def ask(name: str) -> str:
            begin = time.monotonic()
            with (
                httpx.Client(timeout=60, headers=headers) as client,
                client.stream("POST", f"{stage.proxy}/{name}/_search", json=search) as answer,
            ):
                size = sum(map(len, _raw(answer)))
            return f"{name}: {answer.status_code}, {size} bytes" if time.monotonic() - begin > 20 else ""

        yield from pool.map(ask, ["silent", "bomb", "long", "broken"] * 6)
        answer = httpx.post(f"{stage.proxy}/index/_search", json=search, timeout=30)
        yield "" if answer.headers["x-slimrank"].startswith("reranked") else answer.headers["x-slimrank"]
    silence.set()
    stage.engine.reply = plain


def _raw(answer: httpx.Response) -> Iterator[bytes]:
    with contextlib.suppress(httpx.HTTPError):
        yield from answer.iter_raw()


# -- Redis ---------------------------------------------------------------------------------------------------------------


def poison(stage: Stage) -> Tries:
    """Messages, jobs, replies and signs of life that cannot be ours."""
    deep = b"[" * 100_000
    envelope = {
        "body": base64.b64encode(b"[[], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
    }
    properties = {"delivery_tag": str(uuid.uuid4()), "body_encoding": "base64", "delivery_info": {}}
    tasks = [
        b"garbage", b"{}", deep, b"null",
        json.dumps(envelope | {"headers": {"task": messages.TASK_NAME}, "properties": properties}).encode(),
        json.dumps(envelope | {"headers": {"task": "os.system", "id": "1"}, "properties": properties}).encode(),
        json.dumps(envelope | {"headers": {}, "properties": {}, "content-type": "application/x-python-serialize"}).encode(),
    ]  # fmt: skip
    with redis.Redis.from_url(stage.redis) as store:
        (queue,) = {redis_clients.KEY_PREFIX + messages.queue_name(name) for name in [_model(stage)]}
        for task in tasks:
            store.lpush(queue, task)
            yield "; ".join(stage.complaints())
        gateways = [key.decode().rpartition(":")[2] for key in store.keys(redis_clients.KEY_PREFIX + "gateway:*")]
        for reply in (b"garbage", deep, b"[]", b'{"id": 5}', b'{"id": "x", "scores": "y"}', b"\xff", b'{"id":' + b"[" * 50_000):
            for gateway in gateways:
                store.rpush(messages.reply_key(gateway), reply)
            yield "; ".join(stage.complaints())
        for sign in (b"garbage", b"[]", b"5", b"{}", b'{"model": 5}', deep):
            store.set(messages.worker_key("poison"), sign, px=3000)
            store.sadd(messages.WORKERS_KEY, "poison")
            store.set(messages.gateway_key("poison"), sign, px=3000)
            store.sadd(messages.GATEWAYS_KEY, "poison")
            time.sleep(1.2)  # the gateway looks twice a second
            yield "; ".join(stage.complaints())


def _model(stage: Stage) -> str:
    return str(stage.post(GOOD, key="honest").json()["model"])


def spying(stage: Stage) -> Tries:
    """One key asks what another has asked: `usage` must not tell."""
    secret = {"query": f"secret {uuid.uuid4()}", "documents": DOCUMENTS}
    first = stage.post(secret, key="honest").json()["usage"]["prompt_tokens"]
    second = stage.post(secret, key="hostile").json()["usage"]["prompt_tokens"]
    yield "" if first == second else f"usage says {second} for what the other key asked, {first} the first time"
    for authorization in ("", "Bearer", "Bearer x", "Basic x", f"Bearer {stage.keys['honest'][:-1]}", "Bearer \u20ac"):
        with contextlib.suppress(UnicodeEncodeError):
            yield _refused(stage.post(GOOD, headers={"authorization": authorization.encode()}), 401)


# -- models --------------------------------------------------------------------------------------------------------------


def gone_model(stage: Stage) -> Tries:
    """A model whose last worker is killed, asked for by name: another model must not answer for it."""
    asked = GOOD | {"model": "goes"}
    starting = limited(
        ["tests.serving.process", "worker"], megabytes=1024, folder=stage.folder / f"goes-{uuid.uuid4()}", is_up=lambda: True,
        redis_url=stage.redis, fake_model="goes",
    )  # fmt: skip
    with starting as worker:
        deadline = time.monotonic() + 30
        while (answer := stage.post(asked, key="honest")).json().get("model") != "goes" and time.monotonic() < deadline:
            time.sleep(0.2)
        yield "" if answer.json().get("model") == "goes" else f"the second model never served: {answer.status_code}"
        worker.kill()
        worker.wait()
        for _ in range(40):  # before and after the gateway takes the worker for dead
            answer = stage.post(asked | {"query": f"moon {uuid.uuid4()}"}, key="honest", timeout=60)
            is_other = answer.status_code == 200 and answer.json()["model"] != "goes"
            yield "another model answered" if is_other else _refused(answer, 503, 504)
            time.sleep(0.5)


def engine_behind_the_playground(stage: Stage) -> Tries:
    """Bombs behind the playground: an engine's answer that unpacks to gigabytes."""
    plain = stage.engine.reply
    bomb = gzip.compress(b" " * 1500 * MEGABYTE, 1)
    packed = Reply(headers=[("content-type", "application/json"), ("content-encoding", "gzip")], body=bomb)
    stage.engine.reply = lambda request: packed
    try:
        for _ in range(3):
            answer = httpx.post(f"{stage.playground}/api/search", json={"query": "moon"}, timeout=60)
            is_said = '"kind": "engine"' in answer.text and "longer than" in answer.text and len(answer.content) < 2000
            yield "" if is_said else f"the playground answered {answer.status_code}: {answer.text[:100]}"
    finally:
        stage.engine.reply = plain


ATTACKS: dict[str, tuple[Callable[[Stage], Tries], ...]] = {
    "bodies": (wrong_elements, odd_bodies, large_bodies),
    "work": (long_document, many_documents),
    "connections": (large_heads, slow_senders, smuggling, from_a_page),
    "search engines": (bad_engine, engine_behind_the_playground),
    "Redis": (poison,),
    "keys": (spying,),
    "models": (gone_model, files.altered_weights, files.broken_exports),
    "files": (files.odd_files, files.two_runs),
}
