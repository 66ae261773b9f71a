"""A real OpenSearch without ML Commons is refused with the reason and not changed; with ML Commons, all commands work."""

import json
from collections.abc import Iterator

import httpx
import pytest

from connector.cluster import Cluster, open_cluster
from connector.facts import read_facts
from connector.opensearch.check import check
from connector.opensearch.install import InstallPlan, install, remove
from slimrank.errors import EngineRefused, PipelineNotInstalled
from tests.connector.fake_gateway import overlap_gateway
from tests.connector.served import serving
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture
def cluster(opensearch: Engine) -> Iterator[Cluster]:
    with open_cluster(opensearch.url) as cluster:
        yield cluster


def _answer(request: httpx.Request) -> httpx.Response:
    status, text = overlap_gateway(json.loads(request.content))
    return httpx.Response(status, text=text)


def test_the_facts_of_a_real_cluster_are_read_correctly(cluster: Cluster) -> None:
    facts = read_facts(cluster)
    assert facts.name.startswith("OpenSearch ")
    assert facts.version >= (2, 12)


def test_a_real_cluster_gets_an_installation_or_the_error_names_what_it_lacks(cluster: Cluster, opensearch: Engine) -> None:
    before = cluster.read("/_cluster/settings?flat_settings=true")
    with serving(_answer) as url:
        plan = InstallPlan(url.replace("127.0.0.1", opensearch.host_seen_from_engine), ["text"], name="slimrank-test")
        if "rerank" in read_facts(cluster).processors:
            install(cluster, plan)
            assert [finding.state for finding in check(cluster, name="slimrank-test")] == ["ok"] * 5
            remove(cluster, name="slimrank-test")
        else:
            with pytest.raises(PipelineNotInstalled, match="lacks opensearch-ml"):
                install(cluster, plan)
            assert "rerank_search" in check(cluster)[0].words
    assert cluster.read("/_cluster/settings?flat_settings=true") == before


def test_the_message_of_a_real_refusal_is_found(cluster: Cluster) -> None:
    with pytest.raises(EngineRefused, match="Invalid processor type no_such"):
        cluster.write("PUT", "/_search/pipeline/slimrank-test", {"response_processors": [{"no_such": {}}]})
