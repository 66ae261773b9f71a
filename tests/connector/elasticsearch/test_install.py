"""Installing into Elasticsearch: the calls, the licence, the fallbacks, and a removal that leaves nothing."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.cluster import Cluster, open_cluster
from connector.elasticsearch.check import check
from connector.elasticsearch.install import InstallPlan, endpoint, install, remove, search
from slimrank.engine.jobs import Answer
from slimrank.errors import ConfigError, EngineRefused, PipelineNotInstalled
from slimrank.identity import ModelIdentity
from slimrank.serving.gateway.answers import body_of
from slimrank.serving.gateway.schemas import parse
from tests.connector.contracts import as_contract, contract
from tests.connector.fake_elasticsearch import FakeElasticsearch
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving
from tests.doubles import FakeScorer
from tests.nodes.engine import Engine

PLAN = InstallPlan("http://slimrank:8080")


def test_the_calls_equal_the_contract() -> None:
    cluster = Cluster(FakeElasticsearch().client())
    install(cluster, PLAN)
    assert as_contract(cluster.calls) == contract("elasticsearch-install")


def test_the_search_equals_the_contract() -> None:
    assert search("how often does the moon hide the sun?", "text") == contract("elasticsearch-search")


def test_a_second_install_changes_nothing_and_another_plan_replaces_the_endpoint() -> None:
    fake = FakeElasticsearch()
    install(Cluster(fake.client()), PLAN)
    again = Cluster(fake.client())
    assert install(again, PLAN) == ["inference endpoint slimrank: up to date"]
    assert again.calls == []
    install(again, replace(PLAN, deadline_ms=900))
    assert [f"{call.method} {call.path}" for call in again.calls] == [
        "PUT /_inference/rerank/slimrank-trial",
        "DELETE /_inference/rerank/slimrank-trial",
        "DELETE /_inference/rerank/slimrank",
        "PUT /_inference/rerank/slimrank",
    ]
    assert list(fake.endpoints) == ["slimrank"]
    assert '"deadline_ms": 900' in fake.endpoints["slimrank"]["service_settings"]["request"]


@pytest.mark.parametrize(
    ("shards", "wish", "sends"), [(1, None, True), (3, None, False), (0, None, False), (3, True, True), (1, False, False)]
)
def test_the_order_of_the_hits_is_used_only_if_it_is_the_first_stage_order(shards: int, wish: bool | None, sends: bool) -> None:
    fake = FakeElasticsearch(shards=shards)  # 0 means that the user may not list indices
    (line,) = install(Cluster(fake.client()), replace(PLAN, first_stage_order=wish))
    assert ('"first_stage_order": true' in fake.endpoints["slimrank"]["service_settings"]["request"]) is sends
    assert ("without (hits of several shards" in line) is not sends
    assert "up to date" in install(Cluster(fake.client()), replace(PLAN, first_stage_order=wish))[0]


def test_an_endpoint_is_kept_if_its_successor_does_not_work() -> None:
    fake = FakeElasticsearch()
    install(Cluster(fake.client()), PLAN)
    before = copy.deepcopy(fake.endpoints)
    fake.gateway = lambda payload: (503, "no worker")
    with pytest.raises(EngineRefused, match="validation call failed"):
        install(Cluster(fake.client()), replace(PLAN, deadline_ms=900))
    assert fake.endpoints == before


def test_a_stored_key_must_be_given_again_and_is_not_overwritten() -> None:
    fake = FakeElasticsearch()
    with_key = replace(PLAN, api_key="hunter2")
    install(Cluster(fake.client()), with_key)
    before = copy.deepcopy(fake.endpoints)
    for plan, anew in ((replace(PLAN, deadline_ms=900), False), (PLAN, True)):
        with pytest.raises(ConfigError, match="give the key again with --api-key"):
            install(Cluster(fake.client()), plan, replace=anew)
    assert fake.endpoints == before
    install(Cluster(fake.client()), replace(with_key, deadline_ms=900))
    install(Cluster(fake.client()), replace(PLAN, api_key="none"))
    assert fake.endpoints["slimrank"]["service_settings"]["secret_parameters"] == {"api_key": "none"}
    install(Cluster(fake.client()), replace(PLAN, deadline_ms=800))


def test_the_endpoint_and_the_search_have_the_parts_of_elastics_own_examples() -> None:
    """Compare with the public specification's example for Cohere and the public tests of the retriever."""
    settings = endpoint(PLAN)["service_settings"]
    assert {"secret_parameters", "url", "headers", "request", "response"} == set(settings)
    assert isinstance(settings["request"], str)
    assert set(settings["response"]["json_parser"]) == {"reranked_index", "relevance_score"}
    (retriever,) = search("q", "text")["retriever"].items()
    options = {"retriever", "field", "inference_id", "inference_text", "rank_window_size", "allow_rerank_failures"}
    assert (retriever[0], set(retriever[1])) == ("text_similarity_reranker", options)


def test_a_changed_key_is_noticed_and_without_a_new_key_the_old_key_is_kept() -> None:
    fake = FakeElasticsearch()
    install(Cluster(fake.client()), replace(PLAN, api_key="hunter2"))
    for plan in (PLAN, replace(PLAN, api_key="hunter2")):
        install(again := Cluster(fake.client()), plan)
        assert again.calls == []
    install(Cluster(fake.client()), replace(PLAN, api_key="other"))
    assert fake.endpoints["slimrank"]["service_settings"]["secret_parameters"] == {"api_key": "other"}


def _as_tei(payload: dict[str, Any]) -> tuple[int, str]:
    """Answer like the gateway, in the format of Text Embeddings Inference."""
    call = parse(payload, max_documents=10)
    answer = Answer(FakeScorer().score(call.job.request.query, call.job.request.documents), ModelIdentity("m"))
    return 200, json.dumps(body_of(call, answer, request_id="1"))


def test_a_build_without_the_custom_service_gets_a_hugging_face_endpoint() -> None:
    fake = FakeElasticsearch(has_custom=False, gateway=_as_tei)
    cluster = Cluster(fake.client())
    (line,) = install(cluster, replace(PLAN, api_key="k"))
    assert line.endswith("as hugging_face, since this cluster has no custom service")
    assert as_contract(cluster.calls)[-1:] == contract("elasticsearch-hugging-face-install")
    assert "up to date" in install(Cluster(fake.client()), PLAN)[0]
    assert [finding.state for finding in check(Cluster(fake.client()))] == ["ok", "ok"]
    remove(Cluster(fake.client()))
    assert fake.endpoints == {}


def test_another_reranker_behind_hugging_face_is_not_changed() -> None:
    own = {"service": "hugging_face", "service_settings": {"url": "http://tei:80/rerank"}}
    with pytest.raises(EngineRefused, match="was not made by slimrank"):
        install(Cluster(FakeElasticsearch(endpoints={"slimrank": own}).client()), PLAN)


def test_a_version_that_needs_the_request_as_an_object_gets_an_object() -> None:
    fake = FakeElasticsearch(wants_request_object=True)
    install(Cluster(fake.client()), PLAN)
    again = Cluster(fake.client())
    install(again, PLAN)
    assert again.calls == []
    assert isinstance(fake.endpoints["slimrank"]["service_settings"]["request"], dict)


def test_remove_leaves_nothing_and_can_be_repeated() -> None:
    fake = FakeElasticsearch()
    install(Cluster(fake.client()), PLAN)
    assert remove(Cluster(fake.client())) == ["removed the inference endpoint slimrank"]
    assert fake.endpoints == {}
    assert remove(Cluster(fake.client())) == ["there is no inference endpoint 'slimrank'"]


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (FakeElasticsearch(licence="basic"), "has basic licence; Elastic asks for Enterprise, or the 30-day trial"),
        (FakeElasticsearch(licence="platinum"), "has platinum licence"),
        (FakeElasticsearch(licence=""), "has no licence"),
        (FakeElasticsearch("8.18.4"), "came with 8.19 and 9.1"),
        (FakeElasticsearch("9.0.1"), "came with 8.19 and 9.1"),
        (FakeElasticsearch("7.17.29"), "came with 8.19 and 9.1"),
        (FakeOpenSearch(), "use `slimrank connect opensearch`"),
    ],
)
def test_an_unsuitable_cluster_is_refused_with_the_reason_and_the_alternatives(fake: FakeElasticsearch, words: str) -> None:
    cluster = Cluster(fake.client())
    with pytest.raises(PipelineNotInstalled, match=words) as caught:
        install(cluster, PLAN)
    assert cluster.calls == []
    assert check(cluster)[0].words == str(caught.value)
    if not isinstance(fake, FakeOpenSearch):
        assert "rerank_search" in str(caught.value)


def test_a_users_own_endpoint_is_not_changed() -> None:
    fake = FakeElasticsearch(endpoints={"slimrank": {"service": "cohere", "service_settings": {}}})
    for work in (lambda: install(Cluster(fake.client()), PLAN), lambda: remove(Cluster(fake.client()))):
        with pytest.raises(EngineRefused, match="was not made by slimrank"):
            work()


def test_install_reports_a_gateway_that_is_down() -> None:
    fake = FakeElasticsearch(gateway=lambda payload: (503, "no worker"))
    with pytest.raises(EngineRefused, match="validation call failed"):
        install(Cluster(fake.client()), PLAN)
    assert fake.endpoints == {}


def _installed() -> FakeElasticsearch:
    fake = FakeElasticsearch(documents={"1": {"text": "a gold chain"}, "2": {"text": "gold ring gold"}})
    install(Cluster(fake.client()), PLAN)
    return fake


def _look(fake: FakeElasticsearch) -> dict[str, tuple[str, str]]:
    found = check(Cluster(fake.client()), index="shop", field="text", query="gold ring")
    return {finding.name: (finding.state, finding.words) for finding in found}


def test_check_calls_the_endpoint_and_runs_one_search() -> None:
    found = _look(_installed())
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["search"][1] == "2 hits of shop came back reranked, the best with 3"


def test_check_finds_an_endpoint_that_wrongly_promises_first_stage_order() -> None:
    fake = _installed()
    fake.shards = 2
    state, words = _look(fake)["first stage"]
    assert state == "fault"
    assert "a search of shop asks several shards" in words


@pytest.mark.parametrize(
    ("damage", "name", "words"),
    [
        (lambda fake: fake.endpoints.clear(), "endpoint", "there is no inference endpoint"),
        (lambda fake: setattr(fake, "gateway", lambda payload: (503, "no worker")), "endpoint", "no worker"),
        (lambda fake: setattr(fake, "gateway", lambda payload: (200, '{"results": []}')), "endpoint", "came back"),
        (lambda fake: fake.documents.clear(), "search", "finds nothing"),
    ],
)
def test_check_says_what_is_wrong(damage: Callable[[FakeElasticsearch], None], name: str, words: str) -> None:
    fake = _installed()
    damage(fake)
    assert words in _look(fake)[name][1]


def test_without_the_gateway_a_search_returns_the_first_stage_order() -> None:
    fake = _installed()
    fake.gateway = lambda payload: (504, "too late")
    hits = Cluster(fake.client()).read("/shop/_search", search("gold ring", "text"))["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == ["1", "2"]


def test_the_commands_work_in_sequence() -> None:
    fake = FakeElasticsearch()
    with serving(fake.answer) as url:

        def run(*words: str) -> str:
            result = CliRunner().invoke(app, ["elasticsearch", *words, "--url", url])
            assert result.exit_code == 0, result.output
            return result.output

        shown = run("install", "--gateway", "http://slimrank:8080", "--print", "--api-key", "hunter2")
        assert fake.endpoints == {}
        assert "hunter2" not in shown
        assert shown.startswith("PUT /_inference/rerank/slimrank\n{")
        assert "calls http://slimrank:8080/v1/rerank" in run("install", "--gateway", "http://slimrank:8080")
        assert [finding["state"] for finding in json.loads(run("check", "--json"))] == ["ok", "ok"]
        assert "removed" in run("remove")


@pytest.mark.engine
@pytest.mark.parametrize("fixture", ["elasticsearch_8", "elasticsearch_7"])
def test_a_real_node_without_a_licence_is_refused_with_the_licence_free_ways(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(fixture)
    with open_cluster(engine.url) as cluster:
        (finding,) = check(cluster)
    assert finding.state == "fault"
    assert "rerank_search" in finding.words
