"""The commands `slimrank serve` and `slimrank worker` over a real, tiny model folder."""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from slimrank import Reranker, manifest
from slimrank.manifest import FileRecord
from slimrank.settings import CPU_DOCUMENT_TOKENS
from tests.nodes import process
from tests.serving.process import ROOT, gateway, worker
from tests.tiny import DOCUMENTS

REFERENCE = ROOT / "docs" / "reference.md"
BODY = {"query": "bread", "documents": DOCUMENTS, "raw_scores": True}


@pytest.fixture(scope="module")
def embedded(tiny_model: Path) -> Iterator[str]:
    """Yield the URL of an embedded gateway over the tiny model."""
    with gateway(fake=False, embedded=True, model=tiny_model) as url:
        yield url


@pytest.fixture(scope="module")
def queued(redis_url: str, tiny_model: Path) -> Iterator[tuple[str, str]]:
    """Yield the URL of a gateway over a worker of the tiny model, and that of the worker's metrics."""
    port = process.free_port()
    with (
        worker(fake=False, redis_url=redis_url, model=tiny_model, metrics_port=port),
        gateway(fake=False, redis_url=redis_url) as url,
    ):
        yield url, f"http://127.0.0.1:{port}/metrics"


def ask(url: str, **fields: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/rerank", json=BODY | fields, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def scores_of(answer: dict[str, Any]) -> dict[int, float]:
    """Return an answer's raw scores by index."""
    return {result["index"]: result["relevance_score"] for result in answer["results"]}


def expected(folder: Path, query: str, documents: list[str]) -> Any:
    """Return what the library gives with a model folder for what a CPU reads by default, to compare with ``scores_of``."""
    ranked = library(folder).rank(query, documents, document_tokens=CPU_DOCUMENT_TOKENS)
    return pytest.approx({hit.index: hit.score for hit in ranked}, abs=1e-5)


@functools.cache
def library(folder: Path) -> Reranker:
    return Reranker.load(folder, threads=1)


def test_the_gateway_ranks_as_the_library_does(embedded: str, tiny_model: Path) -> None:
    ranked = Reranker.load(tiny_model).rank("bread", DOCUMENTS, document_tokens=CPU_DOCUMENT_TOKENS)
    results = ask(embedded)["results"]
    assert [result["index"] for result in results] == [document.index for document in ranked]
    assert [result["relevance_score"] for result in results] == pytest.approx([document.score for document in ranked], abs=1e-6)


@pytest.mark.redis
def test_workers_and_embedded_give_the_same_answer(embedded: str, queued: tuple[str, str]) -> None:
    for fields in ({}, {"raw_scores": False}, {"max_tokens_per_doc": 5}, {"instruction": "prefer space"}):
        # A query of its own: what another test asked before is known, and costs no tokens.
        first, second = (ask(url, query="fresh bread", **fields) for url in (embedded, queued[0]))
        assert first.pop("id") != second.pop("id")
        assert first == second


@pytest.mark.redis
def test_a_worker_shows_at_a_port_of_its_own_every_metric_that_is_documented(queued: tuple[str, str], tiny_model: Path) -> None:
    gate, metrics = queued
    answer = ask(gate, query="what a worker counts")
    families = list(text_string_to_metric_families(httpx.get(metrics).text))
    documented = re.findall(r"^\| `(slimrank_\w+)` \|.*\bworker\b", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert documented and set(documented) <= {family.name + ("_total" if family.type == "counter" else "") for family in families}
    samples = [sample for family in families for sample in family.samples]
    values = {sample.name: sample.value for sample in samples}
    assert values["slimrank_documents_total"] >= len(DOCUMENTS)
    assert values["slimrank_tokens_total"] >= answer["usage"]["total_tokens"]
    assert values["slimrank_batch_tokens_sum"] > 0 and values["slimrank_infer_seconds_sum"] > 0
    assert {sample.labels["model"]: sample.value for sample in samples if sample.name == "slimrank_model_info"} == {
        tiny_model.name: 1
    }


def test_an_answer_says_which_weights_and_prompt_gave_it(embedded: str, tiny_model: Path) -> None:
    made = manifest.read(tiny_model)
    meta = ask(embedded)["meta"]
    assert (meta["model_sha256"], meta["prompt_sha256"]) == (made.digest(), made.prompt_sha256)
    other = made.model_copy(update={"files": {**made.files, "model.onnx": FileRecord(bytes=1, sha256="0" * 64)}})
    assert other.digest() != made.digest()


def test_a_long_document_is_cut_and_reported(embedded: str) -> None:
    answer = ask(embedded, documents=["short", "rye bread " * 20_000], max_tokens_per_doc=4096)
    assert answer["meta"]["truncated_documents"] == [1]
    assert answer["usage"]["total_tokens"] < 1100


def test_where_a_request_does_not_say_a_cpu_reads_the_beginning_and_says_so_once(embedded: str) -> None:
    answer = ask(embedded, documents=["brief", "oat bread " * 20_000])
    assert (answer["meta"]["document_tokens"], answer["meta"]["truncated_documents"]) == (96, [])
    assert answer["usage"]["total_tokens"] < 300


def test_max_tokens_per_doc_cuts_sooner(embedded: str) -> None:
    # A query of its own: for another test's, the whole document may be known, and cost no tokens.
    cut = ask(embedded, query="moons", documents=["Titan is the largest moon of Saturn."], max_tokens_per_doc=3)
    whole = ask(embedded, query="moons", documents=["Titan is the largest moon of Saturn."])
    assert cut["meta"]["truncated_documents"] == [0]
    assert cut["usage"]["total_tokens"] < whole["usage"]["total_tokens"]


def test_text_that_spells_special_tokens_does_not_act_as_them(embedded: str) -> None:
    plain, spelt = (ask(embedded, documents=[text])["usage"]["total_tokens"] for text in ("a", "<|im_end|>"))
    assert spelt > plain


def test_an_instruction_without_room_for_the_query_is_refused(embedded: str) -> None:
    answer = httpx.post(f"{embedded}/v1/rerank", json=BODY | {"instruction": "prefer " * 2000}, timeout=30)
    assert answer.status_code == 422
    assert "shorten the instruction" in answer.json()["message"]


@pytest.mark.parametrize("command", [["serve", "--embedded", "--port", "0"], ["worker"]])
def test_a_spoilt_model_folder_is_refused_at_start(command: list[str], model_copy: Path) -> None:
    (model_copy / "tokenizer.json").unlink()
    full = [sys.executable, "-m", "slimrank", *command, "--model", str(model_copy)]
    done = subprocess.run(full, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "tokenizer.json is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_swapped_while_serving_changes_no_answer(model_copy: Path, tiny_model: Path) -> None:
    with gateway(fake=False, embedded=True, model=model_copy) as url:
        before = ask(url)["scores"]
        shutil.rmtree(model_copy)
        model_copy.mkdir()
        (model_copy / "model.onnx").write_bytes(b"another")
        assert ask(url)["scores"] == before
        # A query of its own: no score of it is known, so the model that was loaded is asked again.
        assert scores_of(ask(url, query="bread after the swap")) == expected(tiny_model, "bread after the swap", DOCUMENTS)
