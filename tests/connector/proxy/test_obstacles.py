"""Requests that are passed on unchanged: searches that cannot be reranked, unreadable requests, and other paths."""

import json

import pytest

from tests.connector.proxy.conftest import RunningProxy
from tests.connector.proxy.engine import Engine, Reply
from tests.connector.proxy.searches import SEARCH


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
        (
            {"query": {"hybrid": {"queries": [{"match": {"body": "red"}}]}}, "from": 15},
            "",
            "a page of a hybrid search goes beyond the window",
        ),
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
def test_a_search_that_cannot_be_reranked_is_passed_on_unchanged_with_the_reason(
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
def test_a_filter_path_that_keeps_the_hits_is_not_an_obstacle(proxy: RunningProxy, filter_path: str) -> None:
    assert proxy.search(SEARCH, f"/products/_search?filter_path={filter_path}").headers["x-slimrank"].startswith("reranked")


def test_a_filter_path_that_hides_the_judged_fragments_is_an_obstacle(proxy: RunningProxy) -> None:
    body, path = {**SEARCH, "ext": {"slimrank": {"highlight": True}}}, "/products/_search?filter_path=hits.hits._source"
    assert proxy.search(body, path).headers["x-slimrank"] == "passed; reason=filter_path hides the fragments"


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
def test_an_unreadable_request_is_passed_on_unchanged(
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
def test_other_paths_are_not_searches(proxy: RunningProxy, path: str) -> None:
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
