"""Each wire format is proved with its own public client, and OpenSearch's by-position array with its rule."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from huggingface_hub.utils import HfHubHTTPError, hf_raise_for_status

from tests.assets import CLIENTS_PYTHON
from tests.nodes.require import require
from tests.serving.process import gateway

SCRIPT = Path(__file__).parent / "wire_clients.py"
ORDER = [1, 2, 0]
SCORES = [0.993287176810978, 0.499750000008959, 0.006679568882365]


@pytest.fixture(scope="module")
def answers(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield what each public client made of the gateway's answers."""
    if not CLIENTS_PYTHON.is_file():
        require("the public clients are not installed; run: python -m tests.assets")
    command = [CLIENTS_PYTHON, SCRIPT, str(client.base_url).rstrip("/")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


@pytest.mark.slow
def test_coheres_own_client_reads_version_1(answers: dict[str, Any]) -> None:
    expected = {"order": ORDER[:2], "scores": SCORES[:2], "texts": ["a lead pipe", "pipe"], "id": True, "units": 1.0}
    assert answers["cohere_v1"] == expected


@pytest.mark.slow
def test_coheres_own_client_reads_version_2_and_its_errors(answers: dict[str, Any]) -> None:
    assert (answers["cohere_v2"]["order"], answers["cohere_v2"]["scores"]) == (ORDER, SCORES)
    assert answers["cohere_v2"]["error"].startswith("query is empty")


@pytest.mark.slow
def test_a_jina_client_reads_answers_and_errors(answers: dict[str, Any]) -> None:
    assert (answers["jina"]["order"], answers["jina"]["scores"]) == (ORDER, SCORES)
    assert answers["jina"]["error"].startswith("query is empty")


@pytest.mark.slow
def test_a_client_of_text_embeddings_inference_reads_answers(answers: dict[str, Any]) -> None:
    assert (answers["tei"]["order"], answers["tei"]["scores"]) == (ORDER, SCORES)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [({"query": "", "texts": ["a"]}, 400, "query is empty"), ({"query": "fail", "texts": ["a"]}, 500, "asked to fail")],
)
def test_hugging_faces_library_reads_the_errors_of_text_embeddings_inference(
    client: httpx.Client, body: dict[str, Any], status: int, words: str
) -> None:
    answer = requests.post(str(client.base_url.join("/rerank")), json=body, timeout=30)
    with pytest.raises(HfHubHTTPError) as refused:
        hf_raise_for_status(answer)
    assert refused.value.response.status_code == status
    assert words in (refused.value.server_message or "")


@pytest.mark.parametrize("raw_scores", [False, True])
def test_scores_are_in_the_order_of_the_request(client: httpx.Client, raw_scores: bool) -> None:
    documents = ["gold ring", "a lead pipe", "pipe"]
    body = {"query": "lead pipe", "documents": documents, "top_n": 1, "raw_scores": raw_scores}
    answer = client.post("/v1/rerank", json=body).json()
    assert len(answer["scores"]) == len(documents)
    assert answer["scores"][answer["results"][0]["index"]] == answer["results"][0]["relevance_score"] == max(answer["scores"])


@pytest.mark.slow
def test_a_fuzzer_finds_the_gateway_as_its_description_says(tmp_path: Path) -> None:
    if not CLIENTS_PYTHON.is_file():
        require("the public clients are not installed; run: python -m tests.assets")
    with gateway(embedded=True) as url:
        # Valid by the description and refused in words: blank documents. A 504 is what a deadline of 1 ms asks for.
        unwanted = "positive_data_acceptance,not_a_server_error"
        command = [CLIENTS_PYTHON.with_name("schemathesis"), "run", f"{url}/openapi.json", "--max-examples", "30", "--seed", "1"]
        for path in ("/v1/rerank", "/info", "/v1/models", "/healthz", "/readyz"):  # other routes are the first again
            command += ["--include-path", path]
        done = subprocess.run(
            [*command, "--checks", "all", "--exclude-checks", unwanted], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        counts = httpx.get(f"{url}/metrics").text
    assert done.returncode == 0, done.stdout[-3000:]
    assert 'slimrank_requests_total{status="422"}' in counts
    assert 'slimrank_requests_total{status="500"}' not in counts
