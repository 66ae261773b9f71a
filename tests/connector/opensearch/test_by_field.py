"""The variant that needs no ``ext`` and keeps the first-stage score: ml_inference, then rerank by_field."""

from dataclasses import replace
from typing import Any

import pytest

from connector.cluster import Cluster
from connector.opensearch.check import check
from connector.opensearch.deep_check import deep
from connector.opensearch.install import InstallPlan, install, remove
from connector.opensearch.traps import body_traps
from slimrank.engine.jobs import Answer
from slimrank.errors import ConfigError, PipelineNotInstalled
from slimrank.identity import ModelIdentity
from slimrank.serving.gateway.answers import body_of
from slimrank.serving.gateway.schemas import parse
from tests.connector.contracts import as_contract, contract
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.doubles import FakeScorer

PLAN = InstallPlan("http://127.0.0.1:8080", ["text"], query_path="query.match.text.query")
SEARCH = {"query": {"match": {"text": {"query": "gold ring"}}}, "size": 2}


def _installed() -> FakeOpenSearch:
    fake = FakeOpenSearch()
    texts = {"1": "ring", "2": "the gold ring of Ada and more", "3": "gold gold of kings"}
    fake.indices["shop"] = {"documents": {key: {"text": text} for key, text in texts.items()}, "settings": {}, "mappings": {}}
    install(Cluster(fake.client()), PLAN)
    return fake


def _hits(fake: FakeOpenSearch, body: dict[str, Any]) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = Cluster(fake.client()).read("/shop/_search?search_pipeline=slimrank", body)["hits"]["hits"]
    return hits


def test_the_calls_equal_the_contract() -> None:
    cluster = Cluster(FakeOpenSearch().client())
    install(cluster, PLAN)
    assert as_contract(cluster.calls) == contract("opensearch-by-field-install")


def test_a_search_without_ext_is_reranked_and_keeps_its_first_stage_score() -> None:
    best = _hits(_installed(), SEARCH)[0]
    assert (best["_id"], best["_score"], best["_source"]["previous_score"]) == ("2", 2.0, pytest.approx(2 / 7))
    assert "slimrank_score" not in best["_source"]
    assert best["_source"]["slimrank_scored"] == 3  # all fetched hits


def test_a_failure_gives_the_first_stage() -> None:
    fake = _installed()
    fake.gateway = lambda payload: (503, "no worker")
    assert [hit["_id"] for hit in _hits(fake, SEARCH)] == ["1", "3"]


def test_a_hit_without_the_field_gives_the_first_stage() -> None:
    fake = _installed()
    fake.pipelines["slimrank"]["response_processors"][0]["ml_inference"]["input_map"][0]["documents"] = "missing"
    assert [hit["_id"] for hit in _hits(fake, SEARCH)] == ["1", "3"]


def test_check_uses_the_variant_and_finds_faults() -> None:
    fake = _installed()
    assert [finding.state for finding in check(Cluster(fake.client()))] == ["ok"] * 5
    fake.gateway = lambda payload: (503, "no worker")
    assert {finding.name for finding in check(Cluster(fake.client())) if finding.state == "fault"} == {"predict", "search"}


def test_a_search_without_the_query_path_is_a_trap_and_ext_is_not_needed() -> None:
    fake = _installed()
    assert body_traps(SEARCH, fake.pipelines["slimrank"]) == []
    _, finding = deep(Cluster(fake.client()), searches=[{"query": {"multi_match": {"query": "gold", "fields": ["text"]}}}])
    assert finding.name == "query path"


def test_changing_the_variant_makes_a_new_connector() -> None:
    fake = _installed()
    install(Cluster(fake.client()), replace(PLAN, query_path=""))
    (connector,) = fake.connectors.values()
    assert "post_process_function" in connector["actions"][0]
    remove(Cluster(fake.client()))
    assert fake.connectors == fake.models == fake.pipelines == {}


def test_the_gateways_answer_has_the_scores_in_the_order_of_the_hits() -> None:
    documents = ["lead pipe", "gold ring", "pipe"]
    call = parse({"query": "pipe", "documents": documents, "raw_scores": True}, max_documents=10)
    scored = FakeScorer().score("pipe", documents)
    body = body_of(call, Answer(scored, ModelIdentity("fake")), request_id="1")
    assert body["scores"] == scored.scores.tolist()


def test_more_than_one_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="only one field can be judged, found 2"):
        install(Cluster(FakeOpenSearch().client()), replace(PLAN, fields=["title", "text"]))


@pytest.mark.parametrize("version", ["2.12.0", "2.17.1"])
def test_a_version_without_the_variant_is_refused(version: str) -> None:
    with pytest.raises(PipelineNotInstalled, match=r"came with 2\.18"):
        install(Cluster(FakeOpenSearch(version).client()), PLAN)
