"""The proxy answers the right hits in the right order, and changes nothing else in them."""

import gzip
import json

import httpx
import pytest

from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine, Received, Reply
from tests.connector.proxy.searches import SEARCH, as_the_engine_gave, best_first, ids

SHOWN = ("_index", "_id", "_score", "_first_stage_score", "_first_stage_rank")


def test_a_search_covered_by_a_rule_is_reranked(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search(SEARCH)
    assert ids(answer) == best_first(20)[:10]
    assert [hit["_score"] for hit in answer.json()["hits"]["hits"]] == [6.0, 6.0, 5.0, 5.0, 5.0, 4.0, 4.0, 4.0, 3.0, 3.0]
    assert answer.json()["hits"]["max_score"] == 6.0
    assert answer.json()["hits"]["total"] == {"value": 30, "relation": "eq"}
    assert answer.json()["aggregations"] == {"a": {"value": 1.0}}
    assert answer.headers["x-slimrank"] == "reranked; reason=rule products"
    assert proxy.scorer.asked[0][0] == "red"
    assert len(proxy.scorer.asked[0][1]) == 20


def test_the_engine_is_asked_once_with_the_callers_body(proxy: RunningProxy, engine: Engine) -> None:
    body = b'{ "query": {"match": {"body": "red"}}, "min_score": 1.10 }'
    proxy.http.post("/products/_search?typed_keys=true", content=body, headers={"content-type": "application/json"})
    assert [request.body for request in engine.received] == [body]
    assert engine.received[0].params == {"typed_keys": "true", "from": "0", "size": "20"}


def test_pages_are_cut_from_one_window_and_miss_no_hit(proxy: RunningProxy) -> None:
    pages = [ids(proxy.search({**SEARCH, "from": start, "size": 5})) for start in range(0, 30, 5)]
    assert [place for page in pages for place in page] == best_first(20)
    behind = proxy.search({**SEARCH, "from": 20})
    assert behind.headers["x-slimrank"] == "passed; reason=the page lies behind the window"


def test_hits_after_the_window_keep_their_places(proxy: RunningProxy) -> None:
    answer = proxy.search({**SEARCH, "size": 30})
    assert ids(answer) == best_first(20)
    assert [hit["_score"] for hit in answer.json()["hits"]["hits"]][20:] == [float(30 - place) for place in range(20, 30)]


def test_size_and_from_in_the_url_are_used(proxy: RunningProxy) -> None:
    assert ids(proxy.search({**SEARCH, "size": 1}, "/products/_search?size=3&from=2")) == best_first(20)[2:5]


def test_a_search_in_the_url_alone_is_reranked(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.http.get("/products/_search?q=red&df=body")
    assert ids(answer) == best_first(20)[:10]
    assert engine.received[0].body == b""
    assert proxy.http.get("/products/_search?q=body:red").headers["x-slimrank"] == "passed; reason=the query string has operators"


def test_every_byte_of_a_hit_except_its_score_is_kept(proxy: RunningProxy, engine: Engine) -> None:
    strange = '"n":12345678901234567890.1230,"x":1.10,"e":1E5,"u":"\\u00fc\\/ü","d":1, "nested" : { "a":[ 1 , 2 ] }'
    engine.raw_hits = [
        f'{{"_id":"{place}","_score":1.5,"_source":{{"body":"{"red " * place}",{strange}}}}}' for place in range(3)
    ]
    answer = proxy.search(SEARCH).text
    first_stage = '"_first_stage_score":1.5,"_first_stage_rank"'
    wanted = [
        engine.raw_hits[place].replace('"_score":1.5', f'"_score":{place}.0,{first_stage}:{place + 1}') for place in (2, 1, 0)
    ]
    assert '"hits":[' + ",".join(wanted) + "]" in answer


def test_a_pretty_answer_stays_pretty(proxy: RunningProxy, engine: Engine) -> None:
    hits = [{"_id": str(place), "_score": 1.0, "_source": {"body": "red " * place}} for place in range(3)]
    body = {"hits": {"max_score": 1.0, "hits": hits}}
    engine.reply = lambda _: Reply(body=json.dumps(body, indent=2).encode())
    answer = proxy.search(SEARCH, "/products/_search?pretty")
    first_stage = [{"_first_stage_score": 1.0, "_first_stage_rank": place + 1} for place in range(3)]
    found = [
        {"_id": str(place), "_score": float(place), **first_stage[place], "_source": hits[place]["_source"]}
        for place in (2, 1, 0)
    ]
    wanted = {"hits": {"max_score": 2.0, "hits": found}}
    assert answer.text == json.dumps(wanted, indent=2)


@pytest.mark.parametrize("filtered", [False, ["title"], [], "title"])
def test_fields_hidden_by_source_filtering_are_requested_and_removed_again(
    proxy: RunningProxy, engine: Engine, filtered: object
) -> None:
    wanted = json.loads(
        httpx.post(f"http://127.0.0.1:{engine.port}/products/_search", json={**SEARCH, "_source": filtered, "size": 20}).text
    )
    answer = proxy.search({**SEARCH, "_source": filtered})
    assert engine.received[-1].json["fields"] == ["body"]
    assert ids(answer) == best_first(20)[:10]
    by_id = {hit["_id"]: hit for hit in wanted["hits"]["hits"]}
    for hit in answer.json()["hits"]["hits"]:
        assert as_the_engine_gave(hit) == as_the_engine_gave(by_id[hit["_id"]])


def test_source_filtering_in_the_url_is_used(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search(SEARCH, "/products/_search?_source=title")
    assert ids(answer) == best_first(20)[:10]
    assert engine.received[0].params["_source"] == "title"
    assert all(hit.keys() == {*SHOWN, "_source"} for hit in answer.json()["hits"]["hits"])


def test_the_callers_fields_are_kept(proxy: RunningProxy) -> None:
    answer = proxy.search({**SEARCH, "_source": False, "fields": ["title"]})
    assert ids(answer) == best_first(20)[:10]
    assert all(list(hit["fields"]) == ["title"] for hit in answer.json()["hits"]["hits"])
    both = proxy.search({**SEARCH, "_source": False, "fields": ["title", "body"]})
    assert all(list(hit["fields"]) == ["title", "body"] for hit in both.json()["hits"]["hits"])


def test_every_hit_has_its_first_stage_score_and_rank_even_after_the_window(proxy: RunningProxy) -> None:
    hits = proxy.search({**SEARCH, "size": 30}).json()["hits"]["hits"]
    assert [hit["_first_stage_rank"] for hit in hits] == [place + 1 for place in best_first(20)]
    assert [hit["_first_stage_score"] for hit in hits] == [float(30 - place) for place in best_first(20)]


def test_no_field_is_added_if_filter_path_selects_the_fields_of_a_hit(proxy: RunningProxy) -> None:
    hits = proxy.search(SEARCH, "/products/_search?filter_path=hits").json()["hits"]["hits"]
    assert ids(proxy.search(SEARCH)) == [int(hit["_id"]) for hit in hits]
    assert all(set(hit) == {"_index", "_id", "_score", "_source"} for hit in hits)


def test_a_page_of_a_hybrid_search_is_cut_from_one_window(proxy: RunningProxy, engine: Engine) -> None:
    hybrid = {"query": {"hybrid": {"queries": [{"match": {"body": "red"}}]}}}
    assert ids(proxy.search({**hybrid, "from": 5, "size": 5})) == best_first(20)[5:10]
    assert engine.received[-1].params == {"from": "0", "size": "20"}


def test_the_engines_fragments_of_a_long_field_are_judged_and_removed_again(start_proxy: StartProxy, engine: Engine) -> None:
    rule = {"name": "long", "indices": ["*"], "fields": ["body"], "rank_window_size": 20, "highlight": True}
    proxy = start_proxy({"rules": [rule]})
    answer = proxy.search(SEARCH)
    asked = engine.received[-1].json["highlight"]["fields"]["body"]
    assert (asked["number_of_fragments"], asked["pre_tags"]) == (3, [""])
    assert proxy.scorer.asked[0][1][:3] == ["", "fragment 1 of body", "fragment 2 of body"]
    assert all("highlight" not in hit for hit in answer.json()["hits"]["hits"])


def test_a_field_that_the_search_highlights_is_judged_whole_and_its_highlights_are_kept(start_proxy: StartProxy) -> None:
    rule = {"name": "long", "indices": ["*"], "fields": ["title", "body"], "highlight": True}
    proxy = start_proxy({"rules": [rule]})
    hits = proxy.search({**SEARCH, "highlight": {"fields": {"title": {}}}}).json()["hits"]["hits"]
    assert proxy.scorer.asked[0][1][1] == "shoe 1\nfragment 1 of body"
    assert all(list(hit["highlight"]) == ["title"] for hit in hits)


@pytest.mark.parametrize("count", [0, 1])
def test_zero_and_one_hit_are_answered(proxy: RunningProxy, engine: Engine, count: int) -> None:
    engine.documents = engine.documents[4 : 4 + count]
    answer = proxy.search(SEARCH)
    assert ids(answer) == list(range(count))
    assert answer.headers["x-slimrank"] == ("reranked; reason=rule products" if count else "passed; reason=no hits")


def test_compression_is_kept_in_both_directions(proxy: RunningProxy, engine: Engine) -> None:
    def reply(request: Received) -> Reply:
        plain = engine.search(request)
        return Reply(headers=[*plain.headers, ("content-encoding", "gzip")], body=gzip.compress(plain.body))

    engine.reply = reply
    packed = gzip.compress(json.dumps(SEARCH).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip", "accept-encoding": "gzip,deflate,br"}
    answer = proxy.http.post("/products/_search", content=packed, headers=headers)
    assert ids(answer) == best_first(20)[:10]
    assert answer.headers["content-encoding"] == "gzip"
    assert engine.received[0].header("accept-encoding") == "gzip"
    assert engine.received[0].header("content-encoding") is None
