import gzip
import json
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.connector.proxy.conftest import RunningProxy, StartProxy
from tests.connector.proxy.engine import Engine, Received, Reply

SEARCH = {"query": {"match": {"body": "red"}}}


def ids(answer: httpx.Response) -> list[int]:
    return [int(hit["_id"]) for hit in answer.json()["hits"]["hits"]]


def best_first(window: int, count: int = 30) -> list[int]:
    """Return the order that the scorer gives: documents hold the query word `place % 7` times."""
    return sorted(range(window), key=lambda place: -(place % 7)) + list(range(window, count))


def test_a_search_under_a_rule_is_reranked(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search(SEARCH)
    assert ids(answer) == best_first(20)[:10]
    assert [hit["_score"] for hit in answer.json()["hits"]["hits"]] == [6.0, 6.0, 5.0, 5.0, 5.0, 4.0, 4.0, 4.0, 3.0, 3.0]
    assert answer.json()["hits"]["max_score"] == 6.0
    assert answer.json()["hits"]["total"] == {"value": 30, "relation": "eq"}
    assert answer.json()["aggregations"] == {"a": {"value": 1.0}}
    assert answer.headers["x-slimrank"] == "reranked; reason=rule products"
    assert proxy.scorer.asked[0][0] == "red"
    assert len(proxy.scorer.asked[0][1]) == 20


def test_the_engine_is_asked_once_with_the_callers_own_body(proxy: RunningProxy, engine: Engine) -> None:
    body = b'{ "query": {"match": {"body": "red"}}, "min_score": 1.10 }'
    proxy.http.post("/products/_search?typed_keys=true", content=body, headers={"content-type": "application/json"})
    assert [request.body for request in engine.received] == [body]
    assert engine.received[0].params == {"typed_keys": "true", "from": "0", "size": "20"}


def test_pages_come_from_one_window_and_lose_nothing(proxy: RunningProxy) -> None:
    pages = [ids(proxy.search({**SEARCH, "from": start, "size": 5})) for start in range(0, 30, 5)]
    assert [place for page in pages for place in page] == best_first(20)
    behind = proxy.search({**SEARCH, "from": 20})
    assert behind.headers["x-slimrank"] == "passed; reason=the page lies behind the window"


def test_a_page_larger_than_the_window_keeps_the_rest_in_place(proxy: RunningProxy) -> None:
    answer = proxy.search({**SEARCH, "size": 30})
    assert ids(answer) == best_first(20)
    assert [hit["_score"] for hit in answer.json()["hits"]["hits"]][20:] == [float(30 - place) for place in range(20, 30)]


def test_size_and_from_in_the_url_count(proxy: RunningProxy) -> None:
    assert ids(proxy.search({**SEARCH, "size": 1}, "/products/_search?size=3&from=2")) == best_first(20)[2:5]


def test_a_search_in_the_url_alone_is_reranked(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.http.get("/products/_search?q=red&df=body")
    assert ids(answer) == best_first(20)[:10]
    assert engine.received[0].body == b""
    assert proxy.http.get("/products/_search?q=body:red").headers["x-slimrank"] == "passed; reason=the query string has operators"


def test_every_byte_of_a_hit_but_its_score_is_kept(proxy: RunningProxy, engine: Engine) -> None:
    strange = '"n":12345678901234567890.1230,"x":1.10,"e":1E5,"u":"\\u00fc\\/ü","d":1, "nested" : { "a":[ 1 , 2 ] }'
    engine.raw_hits = [
        f'{{"_id":"{place}","_score":1.5,"_source":{{"body":"{"red " * place}",{strange}}}}}' for place in range(3)
    ]
    answer = proxy.search(SEARCH).text
    wanted = [engine.raw_hits[place].replace('"_score":1.5', f'"_score":{place}.0') for place in (2, 1, 0)]
    assert '"hits":[' + ",".join(wanted) + "]" in answer


def test_a_pretty_answer_stays_pretty(proxy: RunningProxy, engine: Engine) -> None:
    hits = [{"_id": str(place), "_score": 1.0, "_source": {"body": "red " * place}} for place in range(3)]
    body = {"hits": {"max_score": 1.0, "hits": hits}}
    engine.reply = lambda _: Reply(body=json.dumps(body, indent=2).encode())
    answer = proxy.search(SEARCH, "/products/_search?pretty")
    wanted = {"hits": {"max_score": 2.0, "hits": [{**hits[place], "_score": float(place)} for place in (2, 1, 0)]}}
    assert answer.text == json.dumps(wanted, indent=2)


@pytest.mark.parametrize("filtered", [False, ["title"], [], "title"])
def test_fields_that_source_filtering_hides_are_asked_for_and_taken_out_again(
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
        assert {**hit, "_score": 0} == {**by_id[hit["_id"]], "_score": 0}


def test_source_filtering_in_the_url_counts(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search(SEARCH, "/products/_search?_source=title")
    assert ids(answer) == best_first(20)[:10]
    assert engine.received[0].params["_source"] == "title"
    assert all(hit.keys() == {"_index", "_id", "_score", "_source"} for hit in answer.json()["hits"]["hits"])


def test_the_callers_own_fields_stay(proxy: RunningProxy) -> None:
    answer = proxy.search({**SEARCH, "_source": False, "fields": ["title"]})
    assert ids(answer) == best_first(20)[:10]
    assert all(list(hit["fields"]) == ["title"] for hit in answer.json()["hits"]["hits"])
    both = proxy.search({**SEARCH, "_source": False, "fields": ["title", "body"]})
    assert all(list(hit["fields"]) == ["title", "body"] for hit in both.json()["hits"]["hits"])


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        ({**SEARCH, "size": 0}, "", "size is 0"),
        ({**SEARCH, "sort": ["n"]}, "", "the search is sorted by a field, not by relevance"),
        (SEARCH, "?sort=n", "sort"),
        (SEARCH, "?scroll=1m", "scroll"),
        ({**SEARCH, "pit": {"id": "x"}}, "", "point in time"),
        ({**SEARCH, "search_after": [1]}, "", "search_after"),
        ({**SEARCH, "stored_fields": ["a"]}, "", "stored_fields"),
        ({**SEARCH, "ext": {"rerank": {"query_context": {"query_text": "a"}}}}, "", "the engine reranks this search itself"),
        (
            {"retriever": {"text_similarity_reranker": {"retriever": {}, "inference_text": "a"}}},
            "",
            "the engine reranks this search itself",
        ),
        ({"query": {"match_all": {}}}, "", "the query has no text to judge by"),
        ({"query": {"bool": {"must": [{"match": {"a": "x"}}, {"match": {"b": "y"}}]}}}, "", "the search has several query texts"),
        ({"query": {"query_string": {"query": "a:b"}}}, "", "the query string has operators"),
        ({"query": {"hybrid": {"queries": [{"match": {"body": "red"}}]}}, "from": 5}, "", "a page of a hybrid search"),
        (SEARCH, "?filter_path=took,hits.total", "filter_path hides the hits"),
        (SEARCH, "?filter_path=hits.hits._id", "filter_path hides the hits"),
        (SEARCH, "?filter_path=-hits.hits._source", "filter_path hides the hits"),
        (SEARCH, "?format=smile", "the answer is not JSON"),
        ({**SEARCH, "from": "x"}, "", "size or from is not a whole number"),
        (SEARCH, "?size=ten", "size or from is not a whole number"),
        ({**SEARCH, "_source": False, "docvalue_fields": ["body"]}, "", "the search's own fields overlap with the rule's"),
        ({**SEARCH, "_source": False, "collapse": {"field": "body"}}, "", "the search's own fields overlap with the rule's"),
    ],
)
def test_a_search_that_cannot_be_reranked_passes_untouched_with_the_reason(
    proxy: RunningProxy, engine: Engine, body: object, path: str, reason: str
) -> None:
    engine.reply = lambda _: Reply(body=b'{"hits": {"hits": []} , "untouched":1.10}')
    sent = json.dumps(body, separators=(" ,", ": ")).encode()
    answer = proxy.http.post("/products/_search" + path, content=sent, headers={"content-type": "application/json"})
    assert answer.headers["x-slimrank"] == f"passed; reason={reason}"
    assert answer.content == b'{"hits": {"hits": []} , "untouched":1.10}'
    assert [request.body for request in engine.received] == [sent]
    assert engine.received[0].target == "/products/_search" + path


@pytest.mark.parametrize(
    "filter_path", ["hits.hits", "took,hits", "*", "hits.*", "**", "hits.hits.*", "hits.hits._source,hits.hits._score"]
)
def test_a_filter_path_that_leaves_the_hits_is_no_obstacle(proxy: RunningProxy, filter_path: str) -> None:
    assert proxy.search(SEARCH, f"/products/_search?filter_path={filter_path}").headers["x-slimrank"].startswith("reranked")


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (b"\xbf\xff", {"content-type": "application/cbor"}, "the body is not JSON"),
        (b":)\n\x00", {"content-type": "application/smile"}, "the body is not JSON"),
        (b"{}", {"content-type": "application/json", "accept": "application/cbor"}, "the answer is not JSON"),
        (b"{", {"content-type": "application/json"}, "the body is not JSON"),
        (b"[]", {"content-type": "application/json"}, "the body is not a JSON object"),
        (b'{"size":1,"size":2}', {"content-type": "application/json"}, "the body is not JSON"),
        (b'{"min_score":NaN}', {"content-type": "application/json"}, "the body is not JSON"),
        (b'{"a":' * 100_000, {"content-type": "application/json"}, "the search is nested too deep"),
        (b"\xff\xfe", {"content-type": "application/json"}, "the body is not JSON"),
        (
            b"xx",
            {"content-type": "application/json", "content-encoding": "br"},
            "the request is compressed in another way than gzip, or too long",
        ),
        (b"{}", {"content-type": "application/json", "authorization": "AWS4-HMAC-SHA256 x"}, "the request is signed"),
    ],
)
def test_what_cannot_be_read_passes_untouched(
    proxy: RunningProxy, engine: Engine, content: bytes, headers: dict[str, str], reason: str
) -> None:
    engine.reply = lambda _: Reply(status=400, body=b"no")
    answer = proxy.http.post("/products/_search", content=content, headers=headers)
    assert (answer.status_code, answer.content) == (400, b"no")
    assert answer.headers["x-slimrank"] == f"passed; reason={reason}"
    assert [request.body for request in engine.received] == [content]


@pytest.mark.parametrize(
    "path",
    [
        "/_search/scroll",
        "/products/_search/template",
        "/_search/pipeline/x",
        "/products/_count",
        "/a/b/_search",
        "/_plugins/_search",
        "/products/_rank_eval",
    ],
)
def test_other_paths_are_no_searches(proxy: RunningProxy, path: str) -> None:
    assert proxy.search(SEARCH, path).headers["x-slimrank"] == "passed; reason=not a search"


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/products/_search", True),
        ("/products-1,products-2/_search", True),
        ("/products*/_search", True),
        ("/products%2Cproducts-2/_search", True),
        ("/products,-products-old/_search", True),
        ("/products,other/_search", False),
        ("/*/_search", False),
        ("/_all/_search", False),
        ("/_search", False),
    ],
)
def test_a_rule_covers_the_indices_that_a_search_names(proxy: RunningProxy, path: str, is_covered: bool) -> None:
    answer = proxy.search(SEARCH, path)
    assert answer.headers["x-slimrank"] == (
        "reranked; reason=rule products" if is_covered else "passed; reason=no rule covers these indices"
    )


# -- ext.slimrank ------------------------------------------------------------------------------------------------------


def test_a_search_may_ask_for_itself_and_the_engine_never_sees_it(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy({})
    body = b'{"query": {"match_all": {}} , "ext": {"slimrank": {"query": "red", "fields": ["body"], "rank_window_size": 5}}, "min_score":1.10}'
    answer = proxy.http.post("/any/_search", content=body, headers={"content-type": "application/json"})
    assert answer.headers["x-slimrank"] == "reranked; reason=rule ext"
    assert ids(answer) == best_first(5)[:10]
    assert engine.received[0].body == b'{"query": {"match_all": {}}, "min_score":1.10}'


def test_another_extension_stays(start_proxy: StartProxy, engine: Engine) -> None:
    start_proxy({}).search({**SEARCH, "size": 0, "ext": {"other": 1, "slimrank": {}}})
    assert engine.received[0].json == {**SEARCH, "size": 0, "ext": {"other": 1}}


def test_a_search_may_ask_to_be_left_alone(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search({**SEARCH, "ext": {"slimrank": {"enabled": False}}})
    assert answer.headers["x-slimrank"] == "passed; reason=the search asks not to be reranked"
    assert engine.received[0].json == SEARCH


def test_a_wrong_extension_is_taken_out_and_named(proxy: RunningProxy, engine: Engine) -> None:
    answer = proxy.search({**SEARCH, "ext": {"slimrank": {"window": 5}}})
    assert answer.headers["x-slimrank"].startswith("passed; reason=ext.slimrank: window")
    assert engine.received[0].json == SEARCH


def test_the_search_overrides_its_rule(proxy: RunningProxy) -> None:
    proxy.search({**SEARCH, "ext": {"slimrank": {"template": "Title: {title}", "instruction": "prefer new"}}})
    assert proxy.scorer.asked[0][1][:2] == ["Title: shoe 0", "Title: shoe 1"]
    assert proxy.scorer.asked[0][2] == "prefer new"


def test_extensions_can_be_forbidden(start_proxy: StartProxy, engine: Engine) -> None:
    answer = start_proxy({"allow_ext": False}).search({**SEARCH, "ext": {"slimrank": {}}})
    assert answer.headers["x-slimrank"] == "passed; reason=no rule covers these indices"
    assert "slimrank" in engine.received[0].json["ext"]


# -- rules -------------------------------------------------------------------------------------------------------------


def test_a_path_names_the_query_text(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["*"], "fields": ["body"], "query_text": "query.bool.must.1.match.body"}
    proxy = start_proxy({"rules": [rule]})
    proxy.search({"query": {"bool": {"must": [{"match": {"title": "shoe"}}, {"match": {"body": "red"}}]}}}, "/any/_search")
    assert proxy.scorer.asked[0][0] == "red"
    assert proxy.search(SEARCH).headers["x-slimrank"] == "passed; reason=no query text at the rule's path"


def test_a_percentage_draws_the_same_queries_each_time(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "r", "indices": ["*"], "percent": 30}]})
    drawn = [[proxy.parts.rules.rules[0].draws(f"query {number}") for number in range(2000)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert 540 < sum(drawn[0]) < 660
    word = next(f"query {number}" for number in range(100) if not drawn[0][number])
    answer = proxy.search({"query": {"match": {"body": word}}})
    assert answer.headers["x-slimrank"] == "passed; reason=outside the 30 percent of rule r"


def test_a_shadow_rule_answers_the_first_stage_and_records_what_would_have_moved(
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


def test_a_shadow_never_slows_or_spoils_an_answer(start_proxy: StartProxy, engine: Engine) -> None:
    rule = {"name": "trial", "indices": ["products"], "fields": ["body"], "shadow": True}
    proxy = start_proxy({"rules": [rule]})
    proxy.scorer.seconds = 5
    begin = time.monotonic()
    for _ in range(8):
        assert proxy.search(SEARCH).status_code == 200
    assert time.monotonic() - begin < 4
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="dropped",rule="trial"} 4.0')
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="failed",rule="trial"} 4.0')


# -- failing open ------------------------------------------------------------------------------------------------------


def test_a_scorer_that_is_down_leaves_the_first_stage_marked(proxy: RunningProxy, engine: Engine) -> None:
    proxy.scorer.is_down = True
    direct = httpx.post(f"http://127.0.0.1:{engine.port}/products/_search", json={**SEARCH, "from": 3, "_source": ["title"]})
    answer = proxy.search({**SEARCH, "from": 3, "_source": ["title"]})
    assert answer.headers["x-slimrank"] == "degraded; reason=no scorer: no worker answers"
    assert answer.content == direct.content
    assert proxy.metric('slimrank_proxy_requests_total{outcome="degraded",reason="no scorer"} 1.0')


def test_a_slow_scorer_is_not_waited_for(start_proxy: StartProxy) -> None:
    rule = {"name": "r", "indices": ["*"], "fields": ["body"], "deadline_ms": 50}
    proxy = start_proxy({"rules": [rule]})
    proxy.scorer.seconds = 10
    begin = time.monotonic()
    answer = proxy.search(SEARCH)
    assert time.monotonic() - begin < 5
    assert answer.headers["x-slimrank"] == "degraded; reason=deadline: no scores within 50 ms"
    assert ids(answer) == list(range(10))
    assert proxy.scorer.cancelled == 1


def test_hits_without_any_text_stay_as_they_are(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"rules": [{"name": "r", "indices": ["*"], "fields": ["missing"]}]})
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "degraded; reason=no text: the fields hold no text in any hit"
    assert ids(answer) == list(range(10))


def test_a_refused_window_falls_back_to_the_callers_own_search(proxy: RunningProxy, engine: Engine) -> None:
    def reply(request: Received) -> Reply:
        return Reply(status=400, body=b"too large") if request.params.get("size") == "20" else engine.search(request)

    engine.reply = reply
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the engine refused the widened search with 400"
    assert ids(answer) == list(range(10))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_error_of_the_engine_is_answered_and_not_asked_for_twice(proxy: RunningProxy, engine: Engine, status: int) -> None:
    engine.reply = lambda _: Reply(status=status, body=b'{"error":"x"}')
    answer = proxy.search(SEARCH)
    assert (answer.status_code, answer.content, len(engine.received)) == (status, b'{"error":"x"}', 1)
    assert answer.headers["x-slimrank"] == f"passed; reason=the engine answered {status}"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"hits":{"hits":[1]}}', b'{"hits":3}', b"\xff", b'{"hits":{"hits":[{"_id":"1"}'])
def test_an_answer_that_makes_no_sense_is_passed_on(proxy: RunningProxy, engine: Engine, body: bytes) -> None:
    engine.reply = lambda _: Reply(body=body)
    answer = proxy.search(SEARCH)
    assert answer.content == body
    assert answer.headers["x-slimrank"].startswith("passed; reason=the answer")


def test_an_answer_longer_than_the_window_is_streamed_and_not_held(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_window_bytes=2048)
    engine.documents = [{"body": "red " * 1000} for _ in range(20)]
    answer = proxy.search(SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=the answer is longer than 2048 bytes"
    assert ids(answer) == list(range(10))


def test_a_request_longer_than_the_limit_is_streamed_and_not_held(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_request_bytes=2048)
    body = {**SEARCH, "post_filter": {"terms": {"n": list(range(5000))}}}
    answer = proxy.search(body)
    assert answer.headers["x-slimrank"] == "passed; reason=the request is longer than 2048 bytes"
    assert engine.received[0].json == body


def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked(start_proxy: StartProxy, engine: Engine) -> None:
    proxy = start_proxy(max_request_bytes=10_000)
    engine.reply = lambda _: Reply()
    packed = gzip.compress(b" " * 5_000_000)
    answer = proxy.http.post(
        "/products/_search", content=packed, headers={"content-type": "application/json", "content-encoding": "gzip"}
    )
    assert answer.headers["x-slimrank"] == "passed; reason=the request is compressed in another way than gzip, or too long"
    assert engine.received[0].body == packed


def test_too_many_searches_at_once_are_passed_on(start_proxy: StartProxy) -> None:
    proxy = start_proxy(max_running=1)
    proxy.scorer.seconds = 0.5
    marks: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: marks.append(httpx.post(proxy.url + "/products/_search", json=SEARCH).headers["x-slimrank"])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.count("degraded; reason=too many searches at once") == 3


def test_a_caller_who_hangs_up_stops_the_scoring(proxy: RunningProxy) -> None:
    proxy.scorer.seconds = 0.9
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(proxy.url + "/products/_search", json=SEARCH, timeout=0.3)
    deadline = time.monotonic() + 5
    while not proxy.scorer.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.scorer.cancelled == 1


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_hit_are_answered(proxy: RunningProxy, engine: Engine, count: int) -> None:
    engine.documents = engine.documents[4 : 4 + count]
    answer = proxy.search(SEARCH)
    assert ids(answer) == list(range(count))
    assert answer.headers["x-slimrank"] == ("reranked; reason=rule products" if count else "passed; reason=no hits")


def test_compression_is_kept_both_ways(proxy: RunningProxy, engine: Engine) -> None:
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


# -- _msearch ----------------------------------------------------------------------------------------------------------


def many(proxy: RunningProxy, *lines: object, path: str = "/_msearch") -> httpx.Response:
    body = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    return proxy.http.post(path, content=body, headers={"content-type": "application/x-ndjson"})


def test_each_search_of_a_request_goes_its_own_way(proxy: RunningProxy, engine: Engine) -> None:
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


def test_a_request_of_searches_without_a_rule_is_untouched(proxy: RunningProxy, engine: Engine) -> None:
    body = b'{}\n{ "query":{"match_all":{}}}\n\n{"size":1.0}\n'
    answer = proxy.http.post("/other/_msearch?x=1", content=body, headers={"content-type": "application/x-ndjson"})
    assert engine.received[0].body == body
    assert answer.headers["x-slimrank"] == "passed; reason=no rule covers these indices"


def test_the_indices_of_the_url_count_where_the_header_names_none(proxy: RunningProxy) -> None:
    assert many(proxy, {}, SEARCH, path="/products/_msearch").headers["x-slimrank"] == "reranked; reason=rule products"


def test_an_extension_in_one_of_many_searches_is_taken_out(proxy: RunningProxy, engine: Engine) -> None:
    many(proxy, {"index": "other"}, {**SEARCH, "size": 0, "ext": {"slimrank": {}}}, {"index": "other"}, SEARCH)
    assert [json.loads(line) for line in engine.received[0].body.split(b"\n")[1::2]] == [{**SEARCH, "size": 0}, SEARCH]


def test_one_failing_search_of_many_degrades_alone(proxy: RunningProxy) -> None:
    proxy.scorer.is_down = True
    answer = many(proxy, {"index": "products"}, {**SEARCH, "size": 3}, {"index": "products"}, {**SEARCH, "size": 0})
    assert answer.headers["x-slimrank"] == "degraded; reason=no scorer: no worker answers: 0 of 2 searches reranked"
    assert [len(each["hits"]["hits"]) for each in answer.json()["responses"]] == [3, 0]


def test_a_refused_search_of_many_falls_back_to_the_callers_own(proxy: RunningProxy, engine: Engine) -> None:
    replies = iter([Reply(body=b'{"responses":[{"error":{},"status":400}]}'), Reply(body=b'{"responses":[{"own":1}]}')])
    engine.reply = lambda _: next(replies)
    answer = many(proxy, {"index": "products"}, SEARCH)
    assert answer.json() == {"responses": [{"own": 1}]}
    assert answer.headers["x-slimrank"] == "passed; reason=the engine refused a widened search"


def test_a_shadow_rule_watches_searches_of_many(start_proxy: StartProxy, engine: Engine) -> None:
    rule = {"name": "trial", "indices": ["products"], "fields": ["body"], "rank_window_size": 20, "shadow": True}
    proxy = start_proxy({"rules": [rule]})
    answer = many(proxy, {"index": "products"}, SEARCH)
    assert answer.headers["x-slimrank"] == "passed; reason=shadow"
    assert proxy.metric('slimrank_proxy_shadow_total{outcome="compared",rule="trial"} 1.0')
    assert engine.received[1].path == "/products/_search"
    assert engine.received[1].header("content-type") == "application/json"
