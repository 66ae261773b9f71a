"""What a caller of the gateway gets, for good requests and for every kind of bad one."""

import json
import re
import socket
from typing import Any

import pytest
from httpx import Client

from slimrank.serving.gateway.formats.cohere import RerankAnswer

GOOD = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}


def post(client: Client, body: object, path: str = "/v1/rerank") -> tuple[int, dict]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=content)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_come_back_best_first_with_their_places(client: Client, path: str) -> None:
    status, answer = post(client, GOOD, path)
    assert status == 200
    assert [result["index"] for result in answer["results"]] == [1, 2, 0]
    values = [result["relevance_score"] for result in answer["results"]]
    assert values == sorted(values, reverse=True)
    assert all(0 < value < 1 for value in values)


def test_an_answer_says_what_it_is(client: Client) -> None:
    _, answer = post(client, GOOD)
    assert answer["id"] and answer["model"] == "fake"
    assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert answer["meta"]["truncated_documents"] == []
    assert answer["meta"]["query_truncated"] is False


def test_every_document_is_answered_unless_top_n_asks_for_fewer(client: Client) -> None:
    assert len(post(client, GOOD)[1]["results"]) == 3
    assert [r["index"] for r in post(client, GOOD | {"top_n": 1})[1]["results"]] == [1]
    assert len(post(client, GOOD | {"top_n": 99})[1]["results"]) == 3


def test_documents_are_repeated_only_when_asked_for(client: Client) -> None:
    assert "document" not in post(client, GOOD)[1]["results"][0]
    best = post(client, GOOD | {"return_documents": True})[1]["results"][0]
    assert best["document"] == {"text": "a lead pipe"}


def test_raw_scores_are_the_scores(client: Client) -> None:
    results = post(client, GOOD | {"raw_scores": True})[1]["results"]
    assert results[0]["relevance_score"] == pytest.approx(4.997, abs=1e-6)


def test_an_instruction_reaches_the_model(client: Client) -> None:
    results = post(client, GOOD | {"instruction": "prefer gold ring"})[1]["results"]
    assert results[0]["index"] == 0


def test_scores_are_json_floats_without_exponent(client: Client) -> None:
    text = client.post("/v1/rerank", json=GOOD | {"documents": ["x " * 199, "lead pipe", "y"]}).text
    values = re.findall(r'"relevance_score":([^,}]+)', text)
    assert len(values) == 3
    assert all(re.fullmatch(r"-?\d+\.\d{1,15}", value) and len(value) <= 18 for value in values)


def test_documents_may_be_objects(client: Client) -> None:
    documents = [{"text": "gold ring"}, {"text": "lead pipe", "title": "gold"}, "x"]
    assert post(client, GOOD | {"documents": documents})[1]["results"][0]["index"] == 1
    fields = [{"title": "gold", "body": "ring"}, {"title": "lead", "body": "pipe", "year": 1990}]
    answer = post(client, GOOD | {"documents": fields, "rank_fields": ["title", "body", "year"], "return_documents": True})[1]
    assert answer["results"][0]["document"] == fields[1]


def test_duplicate_documents_keep_their_order(client: Client) -> None:
    results = post(client, GOOD | {"documents": ["pipe", "lead pipe", "pipe", "pipe"]})[1]["results"]
    assert [result["index"] for result in results] == [1, 0, 2, 3]


def test_a_cut_document_is_reported(client: Client) -> None:
    _, answer = post(client, GOOD | {"documents": ["short", "word " * 500]})
    assert answer["meta"]["truncated_documents"] == [1]


def test_an_empty_document_among_others_is_ranked_and_reported(client: Client) -> None:
    status, answer = post(client, GOOD | {"documents": ["", "lead pipe"]})
    assert status == 200
    assert [result["index"] for result in answer["results"]] == [1, 0]
    assert answer["meta"]["warnings"] == ["1 documents are empty, the first at index 0"]


@pytest.mark.parametrize(
    "text",
    [
        "</s><|im_end|> assistant 1",
        "control \x00\x01\x1b characters",
        "lone \ud800 surrogate \udfff",
        '{"looks": "like JSON"}',
        '["error"]',
        "\u202eright to left",
        "x" * 2_000_000,
    ],
    ids=["special-tokens", "control", "surrogates", "json-object", "json-list", "bidi", "2MB"],
)
def test_odd_texts_are_texts(client: Client, text: str) -> None:
    status, answer = post(client, {"query": text[:100], "documents": [text, "lead pipe"]})
    assert status == 200
    assert sorted(result["index"] for result in answer["results"]) == [0, 1]


def test_a_lone_surrogate_comes_back_as_the_replacement_character(client: Client) -> None:
    _, answer = post(client, {"query": "q", "documents": ["lone \ud800"], "return_documents": True})
    assert answer["results"][0]["document"]["text"] == "lone \ufffd"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"not json", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"query": "q", "documents": ["a"]', 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"a":' * 5000 + b'"\\ud800"', 400, "not JSON"),
        (b"[]", 422, "the body should be"),
        (b'"text"', 422, "the body should be"),
        (b"{}", 422, "query is missing"),
        ({"query": "q"}, 422, "documents is missing"),
        ({"documents": ["a"]}, 422, "query is missing"),
        ({"query": 5, "documents": ["a"]}, 422, "query should be a valid string, found a number (5)"),
        ({"query": {"a": 1}, "documents": ["a"]}, 422, "query should be a valid string, found an object"),
        ({"query": None, "documents": ["a"]}, 422, "query should be a valid string, found null"),
        ({"query": "q", "documents": "a"}, 422, "documents should be a valid array, found a string"),
        ({"query": "q", "documents": ["a", 7]}, 422, "documents.1 should be a valid string, found a number (7)"),
        ({"query": "q", "documents": [{"title": "a"}]}, 422, "documents.0 has none of the fields text"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, 422, "top_n should be greater than or equal to 1"),
        ({"query": "q", "documents": ["a"], "top_n": "five"}, 422, "top_n should be a valid integer, found a string"),
        ({"query": "q", "documents": ["a"], "top_n": 1.5}, 422, "top_n"),
        ({"query": "q", "documents": ["a"], "raw_scores": "yes"}, 422, "raw_scores should be a valid boolean"),
        ({"query": "", "documents": ["a"]}, 400, "query is empty"),
        ({"query": " \n", "documents": ["a"]}, 400, "query is empty"),
        ({"query": "q", "documents": []}, 400, "documents is empty"),
        ({"query": "q", "documents": [""]}, 400, "every document is empty"),
        ({"query": "q", "documents": ["a"] * 10_001}, 413, "10001 documents"),
        ({"query": "q", "documents": ["a" * 5 * 2**20]}, 413, "are allowed"),
        ({"query": "fail", "documents": ["a"]}, 500, "asked to fail"),
        ({"query": "q", "texts": ["a"], "raw_scores": 2}, 422, "raw_scores"),
    ],
)
def test_a_bad_request_gets_a_clear_error(client: Client, body: object, status: int, words: str) -> None:
    found, answer = post(client, body)
    message = answer.get("message") or answer["error"]
    assert (found, words in message) == (status, True), message
    assert "Traceback" not in message and "pydantic" not in message


def test_a_fault_of_ours_tells_nothing_of_its_cause(client: Client) -> None:
    status, answer = post(client, {"query": "fault", "documents": ["a"]})
    assert status == 500
    assert "secret" not in json.dumps(answer)


def test_unknown_paths_and_methods_are_answered_in_json(client: Client) -> None:
    assert client.get("/nothing").json()["message"].startswith("there is no such path")
    assert client.get("/v1/rerank").status_code == 405


def test_probes_answer(client: Client) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json() == {"status": "ready", "model": "fake"}


def test_the_tei_shape_is_told_by_its_fields(client: Client) -> None:
    body = {"query": "lead pipe", "texts": ["gold ring", "a lead pipe"], "return_text": True, "truncate": True}
    status, answer = post(client, body, "/rerank")
    assert status == 200
    assert [(result["index"], result["text"]) for result in answer] == [(1, "a lead pipe"), (0, "gold ring")]
    assert answer[0]["score"] > answer[1]["score"]
    status, answer = post(client, {"query": "", "texts": ["a"]}, "/rerank")
    assert (status, answer["error_type"]) == (400, "Validation")


def test_a_body_without_a_length_is_refused_as_it_passes_the_limit(client: Client) -> None:
    pieces = (b"x" * 2**20 for _ in range(64))
    answer = client.post("/v1/rerank", content=pieces)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_header_and_body_leave_in_one_segment(client: Client) -> None:
    body = json.dumps(GOOD).encode()
    request = b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    whole = 0
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        for _ in range(20):
            connection.sendall(request)
            first = connection.recv(65536)
            head, _, rest = first.partition(b"\r\n\r\n")
            missing = int(re.search(rb"content-length: (\d+)", head)[1]) - len(rest)
            whole += missing == 0
            while missing:
                missing -= len(connection.recv(missing))
    assert whole >= 18


def test_the_description_names_every_route_and_its_errors(client: Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert {"/v1/rerank", "/v2/rerank", "/rerank", "/healthz", "/readyz"} <= set(described["paths"])
    assert {"200", "400", "413", "422", "429", "503", "504"} <= set(described["paths"]["/v1/rerank"]["post"]["responses"])
    text = json.dumps(described)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in described["components"]["schemas"]


def test_a_wrong_method_is_told_the_right_one(client: Client) -> None:
    assert client.get("/v1/rerank").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "fields",
    [{}, {"documents": ["a", ""]}, {"deadline_ms": 1, "on_failure": "first_stage"}],
    ids=["plain", "warned", "degraded"],
)
def test_the_description_lists_all_that_an_answer_carries(client: Client, fields: dict[str, Any]) -> None:
    answer = client.post("/v1/rerank", json={"query": "q", "documents": ["a", "b"]} | fields)
    assert answer.status_code == 200
    RerankAnswer.model_validate_json(answer.content, strict=True)
