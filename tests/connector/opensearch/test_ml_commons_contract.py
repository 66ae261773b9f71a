"""The published ML Commons classes can render our connector's request and read our gateway's answer."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from connector.cluster import Cluster
from connector.opensearch import bodies
from connector.opensearch.install import InstallPlan, install
from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.scoring import UNSCORED
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway.json_numbers import to_json
from tests.connector.contracts import contract
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.doubles import FakeScorer
from tests.nodes.ml_commons import MlCommons
from tests.serving.conftest import over

pytestmark = pytest.mark.engine

DOCUMENTS = [
    'lead pipe "x"\nline2',
    "gold ring gold",
    "",
    "日本語 🔧 \u2028",
    "</s><|im_start|>",
    "a\\b\t{}[]",
    "\x00\x1f",
    "gold " * 500,
    "a ${parameters.query} and ${parameters.documents}, ${parameters.nothing:-b} $${parameters.query} \\${x} $ {",
    '["error"]',
    '{"a": 1}',
]
QUERIES = [
    'where is "gold"',
    "a {b} \\ c",
    "日本 🔧",
    "don't",
    "100%",
    "gold",
    "1",
    "true",
    "null",
    '["error"]',
    '{"a": "b"}',
    "[1]",
]
QUERIES += ["a ${parameters.documents} ${parameters.request}", "a\nb", '"gold"']


@pytest.fixture(scope="module")
def gateway() -> Iterator[httpx.Client]:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer()))) as client:
        yield client


def _connector(version: str = "opensearch-2.15-install") -> dict[str, Any]:
    return next(call["body"] for call in contract(version) if call["call"].endswith("/connectors/_create"))


def _payloads(
    ml_commons: MlCommons, queries: list[str], documents: list[str], version: str = "opensearch-2.15-install"
) -> list[dict[str, Any]]:
    connector = _connector(version)
    return ml_commons.run(
        [{"op": "payload", "connector": connector, "query": query, "documents": documents} for query in queries]
    )


@pytest.mark.parametrize("version", ["opensearch-2.15-install", "opensearch-by-field-install"])
def test_our_request_contains_query_and_documents_unchanged(ml_commons: MlCommons, version: str) -> None:
    for query, result in zip(QUERIES, _payloads(ml_commons, QUERIES, DOCUMENTS, version), strict=True):
        assert json.loads(result["ok"]) == {
            "documents": DOCUMENTS,
            "query": query,
            "raw_scores": True,
            "first_stage_order": True,
            "deadline_ms": 4500,
            "on_failure": "first_stage",
        }


def test_the_request_contains_the_named_model(ml_commons: MlCommons) -> None:
    for model in ("m", 'it\'s "m" \\ ü'):
        named = bodies.connector("local-rerank", "http://127.0.0.1:8080/v1/rerank", model=model, api_key="k", description="...")
        (result,) = ml_commons.run([{"op": "payload", "connector": named, "query": "q", "documents": ["a"]}])
        assert json.loads(result["ok"])["model"] == model


@pytest.mark.parametrize(
    ("query", "document"), [("gold", "a ${parameters.query} b"), ('["error"]', "a"), ("a ${parameters.top_n}", "a")]
)
def test_requests_that_ml_commons_fills_in_itself_are_changed_or_refused(
    ml_commons: MlCommons, query: str, document: str
) -> None:
    plain = _connector()
    plain["actions"][0]["pre_process_function"] = "connector.pre_process.cohere.rerank"
    plain["actions"][0]["request_body"] = '{"documents": ${parameters.documents}, "query": "${parameters.query}"}'
    (result,) = ml_commons.run([{"op": "payload", "connector": plain, "query": query, "documents": [document]}])
    assert "ok" not in result or json.loads(result["ok"]) != {"documents": [document], "query": query}


def test_ml_commons_reads_the_gateways_scores(ml_commons: MlCommons, gateway: httpx.Client) -> None:
    payloads = [result["ok"] for result in _payloads(ml_commons, QUERIES, DOCUMENTS)]
    answers = [gateway.post("/v1/rerank", content=payload, headers={"content-type": "application/json"}) for payload in payloads]
    assert {answer.status_code for answer in answers} == {200}
    read = ml_commons.run([{"op": "scores", "answer": answer.text} for answer in answers])
    for query, result in zip(QUERIES, read, strict=True):
        expected = FakeScorer().score(query, DOCUMENTS).scores
        np.testing.assert_allclose(result["ok"], expected, rtol=1e-6)


def test_an_answer_without_scores_is_read_as_the_marked_first_stage(ml_commons: MlCommons, gateway: httpx.Client) -> None:
    (payload,) = _payloads(ml_commons, ["fail"], DOCUMENTS)
    answer = gateway.post("/v1/rerank", content=payload["ok"], headers={"content-type": "application/json"})
    (result,) = ml_commons.run([{"op": "scores", "answer": answer.text}])
    assert result["ok"] == [UNSCORED - place for place in range(len(DOCUMENTS))]


def test_every_number_that_the_gateway_writes_can_be_read(ml_commons: MlCommons) -> None:
    numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-5,
        1e-30,
        0.1 + 0.2,
        1 / 3,
        -12.123456789012345,
        123456.789,
        1e9,
        65504.0,
        2.5e-15,
        1 - 1e-15,
    ]
    numbers += np.random.default_rng(3).normal(0, 20, 200).astype(np.float32).tolist()
    results = [{"index": index, "relevance_score": number} for index, number in enumerate(numbers)]
    (read,) = ml_commons.run([{"op": "scores", "answer": to_json({"results": results})}])
    np.testing.assert_allclose(read["ok"], numbers, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        ("1", "Integer cannot be cast"),
        ("0", "Integer cannot be cast"),
        ("0.12345678901234567", "BigDecimal cannot be cast"),  # 19 characters
        ('"0.5"', "String cannot be cast"),
    ],
)
def test_numbers_in_other_formats_really_fail(ml_commons: MlCommons, number: str, error: str) -> None:
    (read,) = ml_commons.run([{"op": "scores", "answer": f'{{"results":[{{"index":0,"relevance_score":{number}}}]}}'}])
    assert error in read["error"]


def test_the_connector_of_every_contract_is_valid_and_trusted_by_our_regex(ml_commons: MlCommons) -> None:
    names = ["opensearch-2.12-install", "opensearch-2.15-install", "opensearch-3.7-install", "opensearch-upgrade"]
    cases = []
    for name in names:
        settings, connector = (call["body"] for call in contract(name)[:2])
        cases.append({"op": "validate", "connector": connector, "trusted": settings["persistent"][bodies.TRUSTED][-1:]})
    read_timeouts = [result.get("ok") for result in ml_commons.run(cases)]
    assert read_timeouts == [5, 5, 5, 9]


def test_our_regex_does_not_trust_other_addresses(ml_commons: MlCommons) -> None:
    cases = []
    for url in ("http://127.0.0.1:8081/v1/rerank", "http://127.0.0.1:8080.evil/v1/rerank", "http://127x0.0.1:8080/v1/rerank"):
        body = bodies.connector("slimrank", url, model="m", api_key="k", description="x")
        cases.append({"op": "validate", "connector": body, "trusted": [bodies.trusted_regex("http://127.0.0.1:8080/v1/rerank")]})
    assert all("not matching the trusted connector" in result["error"] for result in ml_commons.run(cases))


def test_the_installer_sends_the_validated_connector() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), InstallPlan("http://127.0.0.1:8080", ["title", "body"]))
    made = next(iter(fake.connectors.values()))
    assert {key: value for key, value in made.items() if key != "created_time"} == _connector()
