"""What public clients send, taken from their source, is answered so that they read the right order.

For clients that are parts of an application and not libraries, or that ask for something before they rerank. Those that can
be installed are run by `make clients`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.serving.gateway.test_formats import ORDER, PROBABILITIES, QUERY, TEXTS

Read = Callable[[Any], list[float]]
"""From an answer to a score a document, in the order sent."""
BY_PLACE = [PROBABILITIES[ORDER.index(place)] for place in range(3)]


def results(answer: Any) -> list[float]:
    return [result["relevance_score"] for result in sorted(answer["results"], key=lambda result: result["index"])]


def logits(answer: Any) -> list[float]:
    return [ranking["logit"] for ranking in sorted(answer["rankings"], key=lambda ranking: ranking["index"])]


def texts(answer: Any) -> list[float]:
    assert [result["text"] for result in answer] == [TEXTS[result["index"]] for result in answer]
    return [result["score"] for result in sorted(answer, key=lambda result: result["index"])]


def scores(answer: Any) -> list[float]:
    return [score["score"] for score in sorted(answer["data"], key=lambda score: score["index"])]


def repeated(answer: Any) -> list[float]:
    assert [result["document"]["text"] for result in answer["results"]] == [TEXTS[place] for place in ORDER]
    return results(answer)


@dataclass(frozen=True)
class Recorded:
    """A request as a client sends it, and how it reads the answer."""

    path: str
    body: dict[str, Any]
    read: Read = results


ASKED = {"model": "any", "query": QUERY, "documents": TEXTS}
RECORDED = {
    "Open WebUI, external reranker": Recorded("/v1/rerank", ASKED | {"top_n": 3}),
    "RAGFlow, OpenAI-API-Compatible and LocalAI": Recorded("/rerank", ASKED | {"top_n": 3}),
    "RAGFlow, Xinference": Recorded("/v1/rerank", ASKED | {"return_documents": "true", "return_len": "true"}, repeated),
    "RAGFlow, SILICONFLOW": Recorded(
        "/v1/rerank", ASKED | {"top_n": 3, "return_documents": False, "max_chunks_per_doc": 1024, "overlap_tokens": 80}
    ),
    "RAGFlow, NVIDIA": Recorded(
        "/v1/reranking",
        {"model": "any", "query": {"text": QUERY}, "passages": [{"text": t} for t in TEXTS], "truncate": "END", "top_n": 3},
        logits,
    ),
    "Dify, Text Embedding Inference": Recorded("/rerank", {"query": QUERY, "texts": TEXTS, "return_text": True}, texts),
    "Dify, OpenAI-compatible": Recorded("/v1/rerank", ASKED | {"top_n": None, "return_documents": True}, repeated),
    "LibreChat, Jina": Recorded("/v1/rerank", ASKED | {"top_n": 3, "return_documents": True}, repeated),
    "LiteLLM, huggingface": Recorded(
        "/rerank",
        {"raw_scores": False, "truncation_direction": "Right", "query": QUERY, "texts": TEXTS, "top_n": 3, "return_text": True},
        texts,
    ),
    "xinference": Recorded(
        "/v1/rerank",
        ASKED | {"top_n": None, "max_chunks_per_doc": None, "return_documents": None, "return_len": None, "kwargs": "{}"},
    ),
    "Cohere's SDKs, v2": Recorded("/v2/rerank", ASKED | {"max_tokens_per_doc": 4096, "priority": 0}),
    "vLLM's example of /score": Recorded("/score", {"model": "any", "text_1": QUERY, "text_2": TEXTS}, scores),
}


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_a_recorded_client_reads_the_right_scores(client: httpx.Client, recorded: Recorded) -> None:
    answer = client.post(recorded.path, json=recorded.body)
    assert answer.status_code == 200, answer.text
    found = recorded.read(answer.json())
    assert sorted(range(3), key=lambda place: -found[place]) == ORDER
    if recorded.read is not logits:
        assert found == BY_PLACE


def test_difys_tei_plugin_learns_that_this_is_a_reranker(client: httpx.Client) -> None:
    info = client.get("/info").json()
    (kind,) = info["model_type"]
    assert (kind, info.get("max_input_length", 512), info.get("max_client_batch_size", 1)) == ("reranker", 512, 10_000)


def test_xinferences_client_finds_no_cluster_to_log_in_to_and_a_rerank_model(client: httpx.Client) -> None:
    assert client.get("/v1/cluster/auth").status_code == 404
    assert client.get("/v1/models/any").json()["model_type"] == "rerank"


def test_together_s_client_of_the_ai_sdk_finds_every_token_count_that_it_asks_for(client: httpx.Client) -> None:
    usage = client.post("/v1/rerank", json=ASKED).json()["usage"]
    assert {name: type(usage[name]) for name in ("prompt_tokens", "completion_tokens", "total_tokens")} == dict.fromkeys(
        usage, int
    )
