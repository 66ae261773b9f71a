"""The doctor: findings match the machine, every problem has a cure, and the exit code shows faults."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from connector.doctor import cli as doctor
from connector.facts import Facts
from slimrank import settings
from slimrank.__main__ import app
from slimrank.serving.queue import messages
from tests.nodes.engine import Engine

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home folder of a machine on which nothing runs."""
    monkeypatch.setenv("SLIMRANK_HOME", str(tmp_path))
    monkeypatch.setenv("SLIMRANK_PORT", "1")
    monkeypatch.delenv("SLIMRANK_REDIS_URL", raising=False)
    return tmp_path


def test_a_bare_machine_gives_warnings_with_cures(alone: Path) -> None:
    findings = {found.name: found for found in doctor.examine(settings.load())}
    assert list(findings) == [
        "python",
        "processor",
        "threads",
        "runtime",
        "model",
        "documents",
        "memory",
        "budgets",
        "redis",
        "gateway",
    ]
    assert findings["model"].state == "warning" and findings["model"].cure.startswith("slimrank model pull")
    assert findings["gateway"].state == "warning" and findings["gateway"].cure == "start the gateway: slimrank serve"


def test_the_command_prints_json_and_sets_the_exit_code(alone: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json", "--gateway", NOWHERE])
    assert done.exit_code == 1
    [fault] = [found for found in json.loads(done.output) if found["state"] == "fault"]
    assert fault["name"] == "gateway" and NOWHERE in fault["words"]


def test_an_old_python_is_a_fault() -> None:
    assert doctor.look_at_python((3, 10, 4)).state == "fault"


def test_a_processor_without_8_bit_products_gives_a_warning_and_an_unknown_processor_does_not() -> None:
    assert doctor.look_at_processor([]).state == "warning"
    assert doctor.look_at_processor(None).state == "ok"
    assert doctor.look_at_processor(["AVX-512 VNNI"]).words.endswith("8-bit products with AVX-512 VNNI")


def test_more_threads_than_cores_give_a_warning() -> None:
    assert doctor.look_at_threads(8, 2.0).cure.startswith("set SLIMRANK_THREADS=2")
    assert doctor.look_at_threads(2, 2.0).state == "ok"
    assert doctor.look_at_threads(0, 2.0).state == "ok", "slimrank's own choice never exceeds the number of cores"


def test_two_builds_of_the_runtime_are_a_fault_and_no_build_is_a_warning() -> None:
    assert doctor.look_at_runtime(lambda name: "1.31").state == "fault"
    assert doctor.look_at_runtime(lambda name: None).cure == "pip install 'slimrank[serve]'"
    assert doctor.look_at_runtime().state == "ok"


def test_a_gpu_build_without_a_gpu_gives_a_warning() -> None:
    found = doctor.look_at_runtime({"onnxruntime": None, "onnxruntime-gpu": "1.31"}.get)
    assert found.state == "warning" and "nvidia-smi" in found.cure


def test_the_hashes_of_a_model_are_checked_and_a_changed_model_is_a_fault(model_copy: Path) -> None:
    found = doctor.look_at_model(settings.load(model=model_copy))
    assert found.state in ("ok", "warning") and "all hashes are correct" in found.words
    graph = model_copy / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[-1] ^= 1
    graph.write_bytes(content)
    refused = doctor.look_at_model(settings.load(model=model_copy))
    assert refused.state == "fault" and "model.onnx" in refused.words


def test_a_model_that_does_not_fit_into_memory_gives_a_warning(tiny_model: Path) -> None:
    current = settings.load(model=tiny_model)
    assert doctor.look_at_memory(current, 1024).state == "warning"
    assert doctor.look_at_memory(current, 2**40).state == "ok"


def test_the_doctor_reports_how_much_of_a_document_is_read() -> None:
    assert "96 tokens of a document are read, the default on a CPU" in doctor.look_at_documents(settings.load()).words
    assert "48 tokens of a document are read, as it is set" in doctor.look_at_documents(settings.load(document_tokens=48)).words
    assert "as much of a document" in doctor.look_at_documents(settings.load(provider="cuda")).words


def test_each_core_needs_memory_for_its_batch(tiny_model: Path) -> None:
    free = 700 * 2**20
    assert doctor.look_at_memory(settings.load(model=tiny_model, threads=1), free).state == "ok"
    assert doctor.look_at_memory(settings.load(model=tiny_model, threads=8), free).state == "warning"
    assert doctor.look_at_memory(settings.load(model=tiny_model, threads=8, provider="cuda"), free).state == "ok"


def test_a_configured_redis_must_answer(alone: Path) -> None:
    assert doctor.look_at_redis(settings.load()).state in ("warning", "ok")
    assert doctor.look_at_redis(settings.load(redis_url="redis://127.0.0.1:1/0")).state == "fault"


@pytest.mark.redis
def test_the_doctor_reports_workers_and_the_eviction_policy(redis_url: str) -> None:
    current = settings.load(redis_url=redis_url)
    with redis.Redis.from_url(redis_url) as store:
        assert "0 workers" in doctor.look_at_redis(current).words
        store.sadd(messages.WORKERS_KEY, "w1")
        store.set(messages.worker_key("w1"), "{}")
        assert "1 workers" in doctor.look_at_redis(current).words
        store.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert doctor.look_at_redis(current).cure.startswith("set maxmemory-policy noeviction")
        finally:
            store.config_set("maxmemory-policy", "noeviction")
            store.delete(messages.WORKERS_KEY, messages.worker_key("w1"))


class _Readiness(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Readiness)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (503, "fault"), (404, "fault")])
def test_a_gateway_is_asked_to_score(status: int, state: str, gateway: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Readiness, "status", status)
    url = f"http://127.0.0.1:{gateway.server_port}"
    found = doctor.look_at_gateway(settings.load(), url)
    assert found.state == state and url in found.words


@pytest.mark.parametrize(
    ("facts", "cure"),
    [
        (Facts("opensearch", "3.5.0", frozenset({"opensearch-ml"}), frozenset({"rerank"})), "connect opensearch install"),
        (Facts("opensearch", "3.5.0", frozenset(), frozenset()), "slimrank proxy"),
        (Facts("elasticsearch", "8.19.3", frozenset(), frozenset()), "connect elasticsearch check"),
    ],
)
def test_the_finding_names_the_way_to_connect(facts: Facts, cure: str) -> None:
    assert cure in doctor.way_of(facts).cure


@pytest.mark.engine
def test_a_real_engine_is_recognised(opensearch: Engine) -> None:
    assert "OpenSearch 3.5.0" in doctor.look_at_engine(opensearch.url).words


def test_an_engine_that_does_not_answer_is_a_fault(alone: Path) -> None:
    found = list(doctor.examine(settings.load(), engine=NOWHERE))[-1]
    assert (found.name, found.state) == ("engine", "fault")


def test_an_invalid_url_is_a_finding_and_not_a_traceback(alone: Path) -> None:
    assert doctor.look_at_gateway(settings.load(), "http://[").state == "fault"
