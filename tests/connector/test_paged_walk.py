"""Ten successive pages through pipeline, proxy and client show every hit once, or are refused with a clear message."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import opensearchpy
import pytest
from opensearchpy.helpers import bulk

from connector.client import rerank_search
from connector.cluster import Cluster, Refusal, open_cluster
from connector.facts import read_facts
from connector.gateway_client import GatewayScorer
from connector.opensearch.install import InstallPlan, install, remove
from connector.opensearch.pipelines import find_pipeline
from connector.proxy.answering import Parts
from connector.proxy.metrics import Metrics
from connector.proxy.rules import Rules
from connector.proxy.scorer import RemoteScorer
from connector.proxy.shadow import Shadow
from connector.proxy.upstream import Upstream
from slimrank.errors import PipelineNotInstalled
from slimrank.scoring import UNSCORED
from tests.connector.fake_gateway import overlap_gateway
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.proxy.conftest import CountingScorer, RunningProxy
from tests.connector.served import serving
from tests.nodes.engine import Engine

INDEX = "slimrank-test-walk"
SEARCH: dict[str, Any] = {
    "query": {"match": {"text": {"query": "ring"}}},
    "ext": {"rerank": {"query_context": {"query_text": "ring gold"}}},
    "size": 5,
}
TEXTS = {str(number): "ring " + "and chain " * number + "gold " * (number % 7) for number in range(60)}
VARIANTS = pytest.mark.parametrize("query_path", ["", "query.match.text.query"])


class HurriedGateway:
    """Scores by shared words, but only the first few documents in time; their number differs each time."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.calls += 1
            depth = 4 + 9 * (self.calls % 4)
        payload = json.loads(request.content)
        status, text = overlap_gateway(payload)
        answer = json.loads(text)
        for result in answer["results"]:
            if result["index"] >= depth:
                result["relevance_score"] = UNSCORED - result["index"]
        answer["scores"] = [score if place < depth else UNSCORED - place for place, score in enumerate(answer["scores"])]
        answer["meta"] = {"scored_documents": min(depth, len(payload["documents"]))}
        return httpx.Response(status, json=answer)


def _ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def _walk_the_pipeline(cluster: Cluster, index: str) -> None:
    """Search the first page with and without a size, check that later pages are refused, then walk pages that are reranked
    alone."""
    path = f"/{index}/_search?search_pipeline=slimrank-test"
    unsaid = {name: value for name, value in SEARCH.items() if name != "size"}
    assert [len(_ids(cluster.read(path, search))) for search in (SEARCH, unsaid)] == [5, 10]
    assert len(_ids(cluster.read(path, {**SEARCH, "size": 2500}))) == 60  # five times this size would exceed the index's window
    for start in range(5, 50, 5):
        with pytest.raises(Refusal, match="slimrank reranks one window of hits a search"):
            cluster.read(path, {**SEARCH, "from": start})
    installed = find_pipeline(cluster, "slimrank-test") or {}
    processors = [each for each in installed["response_processors"] if "truncate_hits" not in each]
    alone = {**SEARCH, "search_pipeline": {"response_processors": processors}}  # like with --oversample 1
    walked = [each for start in range(0, 50, 5) for each in _ids(cluster.read(f"/{index}/_search", {**alone, "from": start}))]
    assert len(walked) == len(set(walked)) == 50


@VARIANTS
def test_a_pipeline_refuses_later_pages_or_reranks_each_page_alone(query_path: str) -> None:
    fake = FakeOpenSearch()
    fake.indices[INDEX] = {"documents": {key: {"text": text} for key, text in TEXTS.items()}, "settings": {}, "mappings": {}}
    cluster = Cluster(fake.client())
    install(cluster, InstallPlan("http://127.0.0.1:8080", ["text"], name="slimrank-test", query_path=query_path))
    _walk_the_pipeline(cluster, INDEX)


@pytest.fixture(scope="module")
def walked_index(opensearch: Engine) -> Iterator[Engine]:
    with opensearchpy.OpenSearch(opensearch.url) as client:
        settings = {"number_of_shards": 1, "number_of_replicas": 0}
        client.indices.create(index=INDEX, body={"settings": settings, "mappings": {"properties": {"text": {"type": "text"}}}})
        bulk(client, [{"_id": key, "text": text} for key, text in TEXTS.items()], index=INDEX, refresh=True)
        yield opensearch
        client.indices.delete(index=INDEX)


@pytest.mark.engine
@VARIANTS
def test_a_real_pipeline_refuses_later_pages_or_reranks_each_page_alone(walked_index: Engine, query_path: str) -> None:
    with serving(HurriedGateway()) as url, open_cluster(walked_index.url) as cluster:
        plan = InstallPlan(
            url.replace("127.0.0.1", walked_index.host_seen_from_engine), ["text"], name="slimrank-test", query_path=query_path
        )
        if "rerank" not in read_facts(cluster).processors:
            with pytest.raises(PipelineNotInstalled, match="lacks opensearch-ml"):
                install(cluster, plan)
            return
        install(cluster, plan)
        try:
            _walk_the_pipeline(cluster, INDEX)
        finally:
            remove(cluster, name="slimrank-test")


@pytest.mark.engine
def test_ten_pages_through_proxy_and_client_show_every_hit_once(walked_index: Engine) -> None:
    gateway, search = HurriedGateway(), {name: value for name, value in SEARCH.items() if name != "ext"}
    metrics = Metrics()
    rules = Rules.model_validate({"rules": [{"name": "walk", "indices": [INDEX], "fields": ["text"], "rank_window_size": 45}]})
    with serving(gateway) as url, opensearchpy.OpenSearch(walked_index.url) as client, httpx.Client() as http:
        parts = Parts(Upstream(walked_index.url), RemoteScorer(url), rules, metrics, Shadow(metrics))
        proxy, scorer = RunningProxy(parts, CountingScorer()), GatewayScorer(url, http=http)
        try:
            pages = [proxy.search({**search, "from": start}, f"/{INDEX}/_search") for start in range(0, 60, 5)]
        finally:
            proxy.close()
        own = [
            rerank_search(client, INDEX, {**search, "from": start}, scorer=scorer, rank_window_size=45)
            for start in range(0, 60, 5)
        ]
    through_proxy = [each for page in pages for each in _ids(page.json())]
    through_client = [each for page in own for each in _ids(page)]
    assert sorted(through_proxy) == sorted(through_client) == sorted(TEXTS)
    assert {page.headers.get("x-slimrank-scored") for page in pages[:9]} == {"13/45"}
    assert gateway.calls == 2  # one window for the proxy, one for the client
