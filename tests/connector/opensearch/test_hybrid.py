"""Hybrid search on a real cluster: the scores of the parts are normalised, then the hits of all parts are reranked."""

from collections.abc import Iterator
from typing import Any

import pytest

from connector.opensearch.install import InstallPlan, install
from tests.connector.sites import NAME, Site, real
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine

INDEX = "slimrank-test-hybrid"
VECTOR = {"type": "knn_vector", "dimension": 2, "method": {"name": "hnsw", "engine": "lucene", "space_type": "l2"}}
DOCUMENTS: list[dict[str, Any]] = [
    {"text": "a ring", "vector": [9.0, 9.0]},
    {"text": "gold", "vector": [1.0, 1.0]},  # neither matches a word nor is near in vector space
    {"text": "gold ring of old", "vector": [0.1, 0.0]},
    {"text": "the ring road", "vector": [0.0, 0.2]},
    {"text": "gold ring", "vector": [8.0, 8.0]},
]


@pytest.fixture
def site(opensearch: Engine) -> Iterator[Site]:
    with real(opensearch) as site:
        mappings = {"properties": {"text": {"type": "text"}, "vector": VECTOR}}
        site.send("PUT", f"/{INDEX}", {"settings": {"index.knn": True, "number_of_shards": 1}, "mappings": mappings})
        site.indices.append(INDEX)
        for number, document in enumerate(DOCUMENTS):
            site.send("PUT", f"/{INDEX}/_doc/{number}?refresh=true", document)
        yield site


def _search(site: Site, pipeline: str) -> list[tuple[str, float]]:
    parts: list[dict[str, Any]] = [
        {"match": {"text": "ring"}},
        {"knn": {"vector": {"vector": [0.0, 0.0], "k": 2}}},
    ]
    body = {"query": {"hybrid": {"queries": parts}}, "size": 4, "_source": ["text"]}
    body |= {"ext": {"rerank": {"query_context": {"query_text": "gold ring"}}}}
    hits = site.send("POST", f"/{INDEX}/_search?search_pipeline={pipeline}", body)["hits"]["hits"]
    return [(hit["_id"], hit["_score"]) for hit in hits]


def test_hits_of_both_parts_are_normalised_and_then_reranked(site: Site) -> None:
    install(site.cluster(), InstallPlan(site.gateway_url, ["text"], name=NAME, hybrid=True))
    site.send("PUT", "/_search/pipeline/plain", {"phase_results_processors": site.pipeline()["phase_results_processors"]})
    first_stage = _search(site, "plain")
    assert all(0 <= score <= 1 for _, score in first_stage)
    reranked = _search(site, NAME)
    assert {found for found, _ in reranked} == {found for found, _ in first_stage} == {"0", "2", "3", "4"}
    assert [score for _, score in reranked] == [2.0, 2.0, 1.0, 1.0]
    assert {found for found, _ in reranked[:2]} == {"2", "4"}
