"""``check`` says what is wrong with an installation, and what to do."""

from collections.abc import Callable

import pytest

from connector.cluster import Cluster, Refusal
from connector.opensearch.check import Finding, check
from connector.opensearch.install import InstallPlan, install
from connector.opensearch.predict import explain
from slimrank.errors import EngineUnavailable
from tests.connector.fake_gateway import Gateway, overlap_gateway
from tests.connector.fake_opensearch import FakeOpenSearch

PLAN = InstallPlan("http://127.0.0.1:8080", ["text"])


def _raise(error: Exception) -> Gateway:
    def gateway(payload: object) -> tuple[int, str]:
        raise error

    return gateway


def _installed() -> FakeOpenSearch:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    return fake


def _faults(fake: FakeOpenSearch) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(Cluster(fake.client())) if finding.state != "ok"}


def test_a_good_installation_has_no_fault_and_check_leaves_no_index() -> None:
    fake = _installed()
    assert _faults(fake) == {}
    assert fake.indices == {}


@pytest.mark.parametrize(
    ("gateway", "words", "cure"),
    [
        (_raise(ConnectionError("Connection refused")), "nothing listens", "slimrank serve"),
        (_raise(TimeoutError()), "did not answer in time", "rerank fewer hits"),
        (lambda payload: (500, "out of memory"), "out of memory", "its log"),
        (lambda payload: (429, "busy"), "busy", "its log"),
        (lambda payload: (200, "<html>"), "is not a reranker's", "right --gateway"),
        (lambda payload: (200, '{"results": []}'), "fewer documents", "scores all"),
        (
            lambda payload: (200, '{"results": [{"index": 0, "relevance_score": 1}]}'),
            "not JSON floats",
            "right --gateway",
        ),
    ],
)
def test_a_failing_gateway_is_explained_although_searches_succeed(gateway: Gateway, words: str, cure: str) -> None:
    fake = _installed()
    fake.gateway = gateway
    faults = _faults(fake)
    assert set(faults) == {"predict", "search"}
    for finding in faults.values():
        assert words in finding.words
        assert cure in finding.cure
    assert fake.indices == {}


def _drop_pipeline(fake: FakeOpenSearch) -> None:
    fake.pipelines.clear()


def _loud(fake: FakeOpenSearch) -> None:
    fake.pipelines["slimrank"]["response_processors"][0]["rerank"]["ignore_failure"] = False


def _other_model(fake: FakeOpenSearch) -> None:
    fake.pipelines["slimrank"]["response_processors"][0]["rerank"]["ml_opensearch"] = {"model_id": "gone"}


def _no_processor(fake: FakeOpenSearch) -> None:
    fake.pipelines["slimrank"]["response_processors"] = []


def _no_window(fake: FakeOpenSearch) -> None:
    del fake.pipelines["slimrank"]["request_processors"]


def _untrusted(fake: FakeOpenSearch) -> None:
    fake.settings["persistent"].clear()


@pytest.mark.parametrize(
    ("damage", "name", "words"),
    [
        (_drop_pipeline, "pipeline", "there is no search pipeline 'slimrank'"),
        (_loud, "pipeline", "fails the search when the reranker fails"),
        (_other_model, "pipeline", "names another model"),
        (_no_processor, "pipeline", "has no rerank processor"),
        (_no_window, "pipeline", "only the page is reranked"),
        (_untrusted, "settings", "matches none of plugins.ml_commons.trusted_connector_endpoints_regex"),
    ],
)
def test_a_damaged_installation_is_explained(damage: Callable[[FakeOpenSearch], None], name: str, words: str) -> None:
    fake = _installed()
    damage(fake)
    assert words in _faults(fake)[name].words


def test_without_ml_commons_check_names_the_alternatives() -> None:
    (finding,) = check(Cluster(FakeOpenSearch(has_ml=False).client()))
    assert finding.state == "fault"
    assert "rerank_search" in finding.words
    assert "slimrank proxy" in finding.words


def test_a_users_index_is_searched_and_not_changed() -> None:
    fake = _installed()
    fake.indices["shop"] = {"documents": {"1": {"text": "gold ring"}}, "settings": {}, "mappings": {}}
    cluster = Cluster(fake.client())
    assert check(cluster, index="shop", query="gold ring")[-1].words.startswith("1 hits of shop")
    assert cluster.calls == []


def test_a_search_that_finds_nothing_is_a_warning() -> None:
    fake = _installed()
    fake.indices["shop"] = {"documents": {}, "settings": {}, "mappings": {}}
    assert check(Cluster(fake.client()), index="shop", query="gold")[-1].state == "warning"


def test_two_documents_with_the_same_best_score_count_as_reranked() -> None:
    fake = _installed()
    fake.gateway = lambda payload: overlap_gateway({**payload, "query": ""})
    assert _faults(fake) == {}


def test_a_cluster_that_is_down_is_an_error_and_not_a_finding() -> None:
    fake = _installed()
    client = fake.client()
    client.close()
    with pytest.raises((EngineUnavailable, RuntimeError)):
        check(Cluster(client))


def test_a_gateway_that_returns_the_first_stage_is_detected() -> None:
    fake = _installed()
    results = '{"results": [{"index": 0, "relevance_score": -1000.0}, {"index": 1, "relevance_score": -1001.0}]}'
    fake.gateway = lambda payload: (200, results)
    assert "could not score" in _faults(fake)["predict"].words


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("unknown_host_exception", "shop.invalid: Name or service not known", "cannot resolve the gateway's host"),
        ("i_o_exception", "shop.invalid: Name or service not known", "cannot resolve the gateway's host"),
        ("i_o_exception", "shop.invalid", "cannot resolve the gateway's host"),
        (
            "class_cast_exception",
            "class_cast_exception: class java.lang.Integer cannot be cast to class java.lang.Double",
            "not JSON floats",
        ),
        (
            "path_not_found_exception",
            "path_not_found_exception: Expected to find an object with property ['results'] in path $",
            "is not a reranker's",
        ),
    ],
)
def test_an_error_is_explained_the_same_from_every_node(kind: str, reason: str, words: str) -> None:
    assert words in explain(Refusal("refused", status=400, reason=reason, kind=kind))[0]


def test_another_connection_error_is_not_explained_as_an_unknown_host() -> None:
    assert explain(Refusal("refused", status=500, reason="Connection reset by peer", kind="i_o_exception"))[0] == "refused"
