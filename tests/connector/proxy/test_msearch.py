"""Many searches in one request are handled separately."""

import json

from tests.connector.proxy.conftest import RunningProxy
from tests.connector.proxy.engine import Engine, Reply
from tests.connector.proxy.searches import SEARCH, best_first, many


def test_each_search_of_a_request_is_handled_separately(proxy: RunningProxy, engine: Engine) -> None:
    untouched = b'{ "query": {"match": {"body": "red"}} , "min_score":1.10}'
    lines = [
        {"index": "products"},
        {**SEARCH, "size": 3},
        {"index": "other"},
        untouched,
        {"index": ["products"]},
        {**SEARCH, "size": 0},
    ]
    answer = many(proxy, *lines)
    assert answer.headers["x-slimrank"] == "reranked; reason=rule products: 1 of 3 searches reranked"
    found = [[int(hit["_id"]) for hit in each["hits"]["hits"]] for each in answer.json()["responses"]]
    assert found == [best_first(20)[:3], list(range(10)), []]
    sent = engine.received[0].body.split(b"\n")
    assert json.loads(sent[1]) == {**SEARCH, "from": 0, "size": 20}
    assert sent[3] == untouched


def test_a_request_without_a_matching_rule_is_not_changed(proxy: RunningProxy, engine: Engine) -> None:
    body = b'{}\n{ "query":{"match_all":{}}}\n\n{"size":1.0}\n'
    answer = proxy.http.post("/other/_msearch?x=1", content=body, headers={"content-type": "application/x-ndjson"})
    assert engine.received[0].body == body
    assert answer.headers["x-slimrank"] == "passed; reason=no rule covers these indices"


def test_the_indices_of_the_url_count_if_the_header_names_none(proxy: RunningProxy) -> None:
    assert many(proxy, {}, SEARCH, path="/products/_msearch").headers["x-slimrank"] == "reranked; reason=rule products"


def test_an_extension_in_one_of_many_searches_is_removed(proxy: RunningProxy, engine: Engine) -> None:
    many(proxy, {"index": "other"}, {**SEARCH, "size": 0, "ext": {"slimrank": {}}}, {"index": "other"}, SEARCH)
    assert [json.loads(line) for line in engine.received[0].body.split(b"\n")[1::2]] == [{**SEARCH, "size": 0}, SEARCH]


def test_only_the_failing_search_of_many_is_degraded(proxy: RunningProxy) -> None:
    proxy.scorer.is_down = True
    answer = many(proxy, {"index": "products"}, {**SEARCH, "size": 3}, {"index": "products"}, {**SEARCH, "size": 0})
    assert answer.headers["x-slimrank"] == "degraded; reason=no scorer: no worker answers: 0 of 2 searches reranked"
    assert [len(each["hits"]["hits"]) for each in answer.json()["responses"]] == [3, 0]


def test_if_one_of_many_searches_is_refused_the_callers_request_is_sent(proxy: RunningProxy, engine: Engine) -> None:
    replies = iter([Reply(body=b'{"responses":[{"error":{},"status":400}]}'), Reply(body=b'{"responses":[{"own":1}]}')])
    engine.reply = lambda _: next(replies)
    answer = many(proxy, {"index": "products"}, SEARCH)
    assert answer.json() == {"responses": [{"own": 1}]}
    assert answer.headers["x-slimrank"] == "passed; reason=the engine refused a widened search"
