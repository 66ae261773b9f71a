"""A search is reranked because of its ``ext.slimrank``, a rule's path or a percentage."""

from connector.window_cache import Part
from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine
from tests.connector.proxy.searches import SEARCH, best_first, ids


def test_a_search_may_request_reranking_and_the_engine_does_not_see_the_request(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy({})
    body = b'{"query": {"match_all": {}} , "ext": {"slimrank": {"query": "red", "fields": ["body"], "rank_window_size": 5}}, "min_score":1.10}'
    answer = proxy.http.post("/any/_search", content=body, headers={"content-type": "application/json"})
    assert answer.headers["x-slimrank"] == "reranked; reason=rule ext"
    assert ids(answer) == best_first(5)[:10]
    assert engine.received[0].body == b'{"query": {"match_all": {}}, "min_score":1.10}'


def test_other_extensions_are_kept(start_proxy: StartProxy, engine: Engine) -> None:
    start_proxy({}).search({**SEARCH, "size": 0, "ext": {"other": 1, "slimrank": {}}})
    assert engine.received[0].json == {**SEARCH, "size": 0, "ext": {"other": 1}}


def test_a_search_may_refuse_reranking(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search({**SEARCH, "ext": {"slimrank": {"enabled": False}}})
    assert answer.headers["x-slimrank"] == "passed; reason=the search asks not to be reranked"
    assert engine.received[0].json == SEARCH


def test_an_invalid_extension_is_removed_and_named(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search({**SEARCH, "ext": {"slimrank": {"window": 5}}})
    assert answer.headers["x-slimrank"].startswith("passed; reason=ext.slimrank: window")
    assert engine.received[0].json == SEARCH


def test_the_search_overrides_its_rule(proxy: RunningProxy) -> None:
    proxy.search({**SEARCH, "ext": {"slimrank": {"template": "Title: {title}", "instruction": "prefer new"}}})
    assert proxy.scorer.asked[0][1][:2] == ["Title: shoe 0", "Title: shoe 1"]
    assert proxy.scorer.asked[0][2] == "prefer new"


def test_a_rule_or_a_search_selects_the_part_of_a_document_to_read(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "shoes", "indices": ["*"], "document_window": "best", "document_tokens": 128}]})
    proxy.search(SEARCH)
    proxy.search({**SEARCH, "ext": {"slimrank": {"document_window": "head"}}})
    assert proxy.scorer.parts == [Part("best", 128), Part("head", 128)]


def test_extensions_can_be_forbidden(start_proxy: StartProxy, engine: Engine) -> None:
    answer = start_proxy({"allow_ext": False}).search({**SEARCH, "ext": {"slimrank": {}}})
    assert answer.headers["x-slimrank"] == "passed; reason=no rule covers these indices"
    assert "slimrank" in engine.received[0].json["ext"]


def test_a_rule_can_give_the_path_of_the_query_text(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["*"], "fields": ["body"], "query_text": "query.bool.must.1.match.body"}
    proxy = start_proxy({"rules": [rule]})
    proxy.search({"query": {"bool": {"must": [{"match": {"title": "shoe"}}, {"match": {"body": "red"}}]}}}, "/any/_search")
    assert proxy.scorer.asked[0][0] == "red"
    assert proxy.search(SEARCH).headers["x-slimrank"] == "passed; reason=no query text at the rule's path"


def test_a_percentage_always_selects_the_same_queries(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "r", "indices": ["*"], "percent": 30}]})
    drawn = [[proxy.parts.rules.rules[0].draws(f"query {number}") for number in range(2000)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert 540 < sum(drawn[0]) < 660
    word = next(f"query {number}" for number in range(100) if not drawn[0][number])
    answer = proxy.search({"query": {"match": {"body": word}}})
    assert answer.headers["x-slimrank"] == "passed; reason=outside the 30 percent of rule r"
