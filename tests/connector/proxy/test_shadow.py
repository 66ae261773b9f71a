"""Rules on trial: the caller gets the engine's answer, and the proxy records what reranking would have moved."""

import json
import time
from pathlib import Path

import httpx

from tests.connector.proxy.conftest import StartProxy
from tests.connector.proxy.engine import Engine
from tests.connector.proxy.searches import SEARCH, best_first, many


def test_a_shadow_rule_answers_the_first_stage_and_records_the_moves(
    start_proxy: StartProxy, engine: Engine, tmp_path: Path
) -> None:
    rule = {"name": "trial", "indices": ["products"], "fields": ["body"], "rank_window_size": 20, "shadow": True}
    proxy = start_proxy({"rules": [rule]})
    direct = httpx.post(f"http://127.0.0.1:{engine.port}/products/_search", json=SEARCH)
    answer = proxy.search(SEARCH)
    assert answer.content == direct.content
    assert answer.headers["x-slimrank"] == "passed; reason=shadow of rule trial"
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="compared",rule="trial"} 1.0')
    record = json.loads((tmp_path / "shadow.jsonl").read_text())
    assert record["reranked"] == [str(place) for place in best_first(20)[:10]]
    assert record["first_stage"] == [str(place) for place in range(10)]
    assert (record["entered"], record["moved"], record["is_first_changed"], record["query"]) == (6, 10, True, None)
    assert proxy.metric('slimrank_proxy_shadow_entered_total{rule="trial"} 6.0')


def test_a_shadow_rule_neither_slows_nor_changes_an_answer(start_proxy: StartProxy, engine: Engine) -> None:
    rule = {"name": "trial", "indices": ["products"], "fields": ["body"], "shadow": True}
    proxy = start_proxy({"rules": [rule]})
    proxy.scorer.seconds = 5
    begin = time.monotonic()
    for _ in range(8):
        assert proxy.search(SEARCH).status_code == 200
    assert time.monotonic() - begin < 4
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="dropped",rule="trial"} 4.0')
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="failed",rule="trial"} 4.0')


def test_a_shadow_rule_also_compares_searches_of_an_msearch(start_proxy: StartProxy, engine: Engine) -> None:
    rule = {"name": "trial", "indices": ["products"], "fields": ["body"], "rank_window_size": 20, "shadow": True}
    proxy = start_proxy({"rules": [rule]})
    answer = many(proxy, {"index": "products"}, SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=shadow"
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="compared",rule="trial"} 1.0')
    assert engine.received[1].path == "/products/_search"
    assert engine.received[1].header("content-type") == "application/json"
