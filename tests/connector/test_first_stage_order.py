"""Every connector says that hits are in first-stage order, so that a model's fitted fusion is used."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connector.client import rerank_search
from connector.elasticsearch import install as elasticsearch
from connector.opensearch import bodies
from connector.proxy.scorer import RemoteScorer
from connector.scorers import score_hits
from slimrank.engine.model import Model
from slimrank.engine.reranker import Reranker
from slimrank.identity import ModelIdentity
from slimrank.manifest import Fusion
from slimrank.serving.embedded_backend import EmbeddedBackend
from tests.connector.doubles import ListEngine
from tests.connector.fake_ml_commons import written
from tests.doubles import FakeScorer
from tests.serving.conftest import over

WEIGHT = 1000.0  # larger than every score, so that the answer shows whether the gateway got the first-stage order
TEXTS = ["a lead pipe", "gold", "gold ring"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with over(EmbeddedBackend(Model(ModelIdentity("fused", fusion_weight=WEIGHT), FakeScorer()))) as client:
        yield str(client.base_url).rstrip("/")


def _search(scorer: Any, **body: Any) -> list[str]:
    engine = ListEngine([{"title": text} for text in TEXTS])
    answer = rerank_search(engine, "i", {"query": {"match": {"title": "gold ring"}}, **body}, scorer=scorer)
    assert answer["slimrank"]["reranked"]
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_the_client_sends_the_order_to_a_gateway_and_a_reranker_but_not_to_a_plain_scorer(gateway: str) -> None:
    assert _search(gateway) == ["0", "1", "2"]
    assert _search(gateway, **{"from": 1, "size": 1}) == ["1"]
    assert _search(Reranker(FakeScorer(), fusion=Fusion(weight=WEIGHT, first_stage="bm25"))) == ["0", "1", "2"]
    assert _search(Reranker(FakeScorer())) == ["2", "1", "0"]
    assert _search(FakeScorer()) == ["2", "1", "0"]


def test_hits_in_another_order_are_scored_without_the_order(gateway: str) -> None:
    scores = score_hits(gateway, "gold ring", TEXTS, first_stage_order=False).scores.tolist()
    assert scores == pytest.approx(FakeScorer().score("gold ring", TEXTS).scores.tolist())


def test_a_rank_counts_less_far_down_the_list(gateway: str) -> None:
    near, far = (score_hits(gateway, "gold ring", TEXTS, offset=offset).scores for offset in (0, 100_000))
    assert near[0] - near[2] > far[0] - far[2]


def test_the_proxy_sends_the_order(gateway: str) -> None:
    async def score() -> list[float]:
        scorer = RemoteScorer(gateway)
        try:
            scored = await scorer.score("gold ring", TEXTS, instruction=None, timeout_seconds=30)
        finally:
            await scorer.stop()
        return [float(value) for value in scored.scores]

    first, second, third = asyncio.run(score())
    assert first > second > third


@pytest.mark.parametrize("by_field", [False, True])
def test_opensearchs_connector_sends_the_order(gateway: str, by_field: bool) -> None:
    connector = bodies.connector("slimrank", gateway, model="", api_key="k", description="", by_field=by_field)
    filled = written(connector["actions"][0]["pre_process_function"], "gold ring", TEXTS)
    answer = httpx.post(f"{gateway}/v1/rerank", content=filled, trust_env=False).json()
    assert [result["index"] for result in answer["results"]] == [0, 1, 2]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


def test_elasticsearchs_endpoint_sends_the_order_if_searches_ask_one_shard(gateway: str) -> None:
    for is_said, order in ((True, [0, 1, 2]), (False, [2, 1, 0])):
        settings = elasticsearch.endpoint(elasticsearch.InstallPlan(gateway, first_stage_order=is_said))["service_settings"]
        filled = settings["request"].replace("${input}", json.dumps(TEXTS)).replace("${query}", '"gold ring"')
        answer = httpx.post(settings["url"], content=filled, trust_env=False).json()
        assert [result["index"] for result in answer["results"]] == order
