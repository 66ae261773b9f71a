"""The proxy in front of real engines, with the unchanged official clients and a recorder on each side of the proxy.

client -> recorder -> proxy -> recorder -> engine
"""

from collections.abc import Callable, Iterator
from typing import Any

import elasticsearch
import httpx
import opensearchpy
import pytest
from elasticsearch.helpers import bulk as elasticsearch_bulk
from opensearchpy.helpers import bulk as opensearch_bulk

from connector.proxy.answering import Parts
from connector.proxy.metrics import Metrics
from connector.proxy.rules import Rules
from connector.proxy.shadow import Shadow
from connector.proxy.upstream import Upstream
from tests.connector.proxy.conftest import CountingScorer, RunningProxy
from tests.connector.proxy.engine import Engine as Recorder
from tests.connector.proxy.engine import Received, Reply
from tests.connector.proxy.searches import as_the_engine_gave
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine

INDEX, UNRULED, NARROW = "slimrank-test-proxy", "slimrank-test-unruled", "slimrank-test-narrow"
RULES = {"rules": [{"name": "shoes", "indices": [INDEX, NARROW], "fields": ["body", "seller.name"], "rank_window_size": 40}]}
SHOES = {"query": {"match": {"title": "shoe"}}}
MAPPING = {
    "properties": {
        "title": {"type": "text"},
        "body": {"type": "text"},
        "group": {"type": "keyword"},
        "seller": {"type": "nested", "properties": {"name": {"type": "text"}}},
    }
}


class Line:
    """A recorder, the proxy, a recorder and an engine."""

    def __init__(self, url: str) -> None:
        self.direct = httpx.Client(base_url=url, timeout=60)
        self.clients = [self.direct]
        self.answers: dict[str, list[bytes]] = {"client": [], "engine": []}
        self.behind = Recorder()
        self.behind.reply = self._relay("engine", url)
        metrics, scorer = Metrics(), CountingScorer()
        upstream = Upstream(f"http://127.0.0.1:{self.behind.port}")
        parts = Parts(upstream, scorer, Rules.model_validate(RULES), metrics, Shadow(metrics))
        self.proxy = RunningProxy(parts, scorer)
        self.before = Recorder()
        self.before.reply = self._relay("client", self.proxy.url)
        self.url = f"http://127.0.0.1:{self.before.port}"
        self.marks: list[str] = []

    def _relay(self, side: str, url: str) -> Callable[[Received], Reply]:
        http = httpx.Client(base_url=url, timeout=60)
        self.clients.append(http)

        def reply(request: Received) -> Reply:
            headers = [(name, value) for name, value in request.headers if name.lower() not in ("host", "content-length")]
            with http.stream(request.method, request.target, headers=headers, content=request.body) as answer:
                raw = b"".join(answer.iter_raw())
            self.answers[side].append(raw)
            if side == "client":
                self.marks.append(answer.headers["x-slimrank"])
            framing = ("content-length", "transfer-encoding", "connection")
            return Reply(answer.status_code, [(k, v) for k, v in answer.headers.multi_items() if k not in framing], raw)

        return reply

    def forget(self) -> None:
        for side in (self.before.received, self.behind.received, self.answers["client"], self.answers["engine"], self.marks):
            side.clear()  # type: ignore[attr-defined]

    def was_untouched(self) -> bool:
        """Tell whether all traffic since ``forget`` is equal on both sides, byte for byte."""
        sent = [[(each.method, each.target, each.body) for each in side.received] for side in (self.before, self.behind)]
        return sent[0] == sent[1] and self.answers["client"] == self.answers["engine"] and bool(sent[0])

    def close(self) -> None:
        self.proxy.close()
        self.before.close()
        self.behind.close()
        for http in self.clients:
            http.close()


def _document(number: int) -> dict[str, Any]:
    return {
        "title": "shoe " + "and sock " * number,
        "body": "shoe " * (number % 9),
        "group": f"g{number % 5}",
        "price": number + 0.10,
        "seller": [{"name": f"shoe seller {number}"}],
    }


@pytest.fixture(scope="module", params=["opensearch", "elasticsearch_8", "elasticsearch_7"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    engine: Engine = request.getfixturevalue(request.param)
    line = Line(engine.url)
    for name in (INDEX, UNRULED, NARROW):
        settings = {"index.max_result_window": 20} if name == NARROW else {}
        body = {"settings": {"number_of_shards": 1, **settings}, "mappings": MAPPING}
        line.direct.put(f"/{name}", json=body).raise_for_status()
        for number in range(60):
            line.direct.put(f"/{name}/_doc/{number}", json=_document(number))
    line.direct.post("/_refresh").raise_for_status()
    yield line
    for name in (INDEX, UNRULED, NARROW):
        line.direct.delete(f"/{name}")
    line.close()


def expected(line: Line, window: int = 40) -> list[str]:
    """Return all hits of the engine's first stage in the order of the scorer."""
    hits = line.direct.post(f"/{INDEX}/_search", json={**SHOES, "size": 60}).json()["hits"]["hits"]
    counts = [_text(hit).count("shoe") for hit in hits]
    places = sorted(range(window), key=lambda place: -counts[place])
    return [hits[place]["_id"] for place in [*places, *range(window, 60)]]


def _text(hit: dict[str, Any]) -> str:
    return f"{hit['_source']['body']} {hit['_source']['seller'][0]['name']}"


def search(line: Line, body: dict[str, Any], path: str = f"/{INDEX}/_search") -> dict[str, Any]:
    line.forget()
    answer = httpx.post(line.url + path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_a_search_covered_by_a_rule_is_reranked(line: Line) -> None:
    answer = search(line, SHOES)
    assert line.marks == ["reranked; reason=rule shoes"]
    assert ids(answer) == expected(line)[:10]
    scores = [hit["_score"] for hit in answer["hits"]["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["hits"]["max_score"] == scores[0]


def test_pages_neither_skip_nor_repeat_hits(line: Line) -> None:
    pages = [ids(search(line, {**SHOES, "from": start, "size": 15})) for start in range(0, 60, 15)]
    assert [each for page in pages for each in page] == expected(line)


@pytest.mark.parametrize(
    "more",
    [
        {"aggs": {"groups": {"terms": {"field": "group"}}}},
        {"sort": ["_score"]},
        {"sort": [{"_score": {"order": "desc"}}]},
        {"highlight": {"fields": {"title": {}}}},
        {"_source": False},
        {"_source": ["title", "seller.*"]},
        {"_source": {"excludes": ["body"]}},
        {"_source": False, "fields": ["title", "price"]},
        {"_source": False, "docvalue_fields": ["group"]},
        {"_source": ["title"], "version": True, "seq_no_primary_term": True},
        {"post_filter": {"range": {"price": {"lt": 1000}}}},
        {"min_score": 0.0001, "track_total_hits": True},
        {"rescore": {"window_size": 5, "query": {"rescore_query": {"match": {"body": "shoe"}}, "rescore_query_weight": 0}}},
    ],
)
def test_only_order_and_scores_differ_from_the_engines_answer(line: Line, more: dict[str, Any]) -> None:
    body = {**SHOES, **more}
    direct = line.direct.post(f"/{INDEX}/_search", json={**body, "size": 60}).json()
    answer = search(line, body)
    assert line.marks == ["reranked; reason=rule shoes"]
    assert ids(answer) == expected(line)[:10]
    own = {hit["_id"]: hit for hit in direct["hits"]["hits"]}
    for hit in answer["hits"]["hits"]:
        assert as_the_engine_gave(hit) == as_the_engine_gave(own[hit["_id"]])
        assert hit["_first_stage_score"] == own[hit["_id"]]["_score"]
    assert {**answer, "hits": answer["hits"]["total"], "took": 0} == {**direct, "hits": direct["hits"]["total"], "took": 0}


def test_in_a_collapsed_search_the_first_hits_of_the_groups_are_reranked(line: Line) -> None:
    body = {**SHOES, "collapse": {"field": "group"}}
    direct = line.direct.post(f"/{INDEX}/_search", json=body).json()
    answer = search(line, body)
    assert line.marks == ["reranked; reason=rule shoes"]
    assert sorted(ids(answer)) == sorted(ids(direct))
    assert ids(answer) != ids(direct)


def test_a_search_in_the_url_alone_is_reranked(line: Line) -> None:
    answer = httpx.get(f"{line.url}/{INDEX}/_search?q=shoe&df=title&size=5&_source=title").json()
    assert ids(answer) == expected(line)[:5]
    assert all(list(hit["_source"]) == ["title"] and "fields" not in hit for hit in answer["hits"]["hits"])


def test_if_the_index_refuses_the_window_the_callers_search_is_sent(line: Line) -> None:
    direct = line.direct.post(f"/{NARROW}/_search", json=SHOES).json()
    answer = search(line, SHOES, f"/{NARROW}/_search")
    assert line.marks == ["passed; reason=the engine refused the widened search with 400"]
    assert answer["hits"] == direct["hits"]


def test_if_the_scorer_fails_the_answer_is_the_engines_page(line: Line) -> None:
    # no other test uses this query, because pages of a scored window need no scorer
    body = {"query": {"match": {"title": "sock"}}, "from": 5, "_source": ["title"]}
    direct = line.direct.post(f"/{INDEX}/_search", json=body).json()
    line.proxy.scorer.is_down = True
    try:
        answer = search(line, body)
    finally:
        line.proxy.scorer.is_down = False
    assert line.marks == ["degraded; reason=no scorer: no worker answers"]
    assert answer["hits"] == direct["hits"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/{INDEX}/_search", {**SHOES, "size": 0, "aggs": {"groups": {"terms": {"field": "group"}}}}),
        (f"/{INDEX}/_search", {**SHOES, "sort": ["price"]}),
        (f"/{INDEX}/_search", {"query": {"match_all": {}}}),
        (f"/{INDEX}/_search", {**SHOES, "from": 40}),
        (f"/{INDEX}/_search?format=yaml", SHOES),
        (f"/{INDEX}/_search?filter_path=hits.total", SHOES),
        (f"/{INDEX}/_search", {"query": {"nonsense": {}}}),
        (f"/{UNRULED}/_search?pretty&human", SHOES),
        (f"/{INDEX},{UNRULED}/_search", SHOES),
        ("/missing-index/_search", SHOES),
        (f"/{INDEX}/_count", SHOES),
    ],
)
def test_a_passed_request_has_the_same_bytes_on_both_sides(line: Line, path: str, body: dict[str, Any]) -> None:
    line.forget()
    httpx.post(line.url + path, json=body)
    assert line.was_untouched()
    assert line.marks[0].startswith("passed; reason=")


def test_the_official_client_works_unchanged(line: Line, request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["line"]
    line.forget()
    if engine == "opensearch":
        _use_opensearch_py(line)
    else:
        _use_elasticsearch_py(line)
    marks = dict(zip([(each.method, each.target.split("?")[0]) for each in line.before.received], line.marks, strict=True))
    assert marks[("POST", f"/{INDEX}/_search")] == "reranked; reason=rule shoes"
    assert "passed; reason=scroll" in line.marks


def _use_opensearch_py(line: Line) -> None:
    with opensearchpy.OpenSearch(line.url, http_compress=True) as client:
        _, errors = opensearch_bulk(
            client, ({"_index": "slimrank-test-bulk", "_id": str(n), "a": "shoe"} for n in range(50)), refresh=True
        )
        assert not errors
        scrolled = client.search(index=INDEX, body=SHOES, params={"scroll": "1m", "size": 25})
        seen = ids(scrolled)
        while (page := client.scroll(body={"scroll_id": scrolled["_scroll_id"], "scroll": "1m"}))["hits"]["hits"]:
            seen += ids(page)
        client.clear_scroll(body={"scroll_id": [scrolled["_scroll_id"]]})
        pit = client.create_pit(index=INDEX, params={"keep_alive": "1m"})["pit_id"]
        held = client.search(body={**SHOES, "pit": {"id": pit}, "sort": ["price"], "size": 60})
        client.delete_pit(body={"pit_id": [pit]})
        assert sorted(ids(held)) == sorted(seen) == sorted(expected(line))
        many = client.msearch(body=[{"index": "slimrank-test-bulk"}, {"size": 1}, {"index": UNRULED}, {"size": 2}])
        assert [len(each["hits"]["hits"]) for each in many["responses"]] == [1, 2]
        with pytest.raises(opensearchpy.NotFoundError):
            client.get(index="slimrank-test-bulk", id="missing")
        client.indices.delete(index="slimrank-test-bulk")
        assert line.was_untouched()
        assert ids(client.search(index=INDEX, body=SHOES)) == expected(line)[:10]
        mixed = client.msearch(body=[{"index": INDEX}, SHOES, {"index": UNRULED}, SHOES])
        assert ids(mixed["responses"][0]) == expected(line)[:10]
        assert line.marks[-1] == "reranked; reason=rule shoes: 1 of 2 searches reranked"


def _use_elasticsearch_py(line: Line) -> None:
    with elasticsearch.Elasticsearch(line.url, http_compress=True) as client:
        _, errors = elasticsearch_bulk(
            client, ({"_index": "slimrank-test-bulk", "_id": str(n), "a": "shoe"} for n in range(50)), refresh=True
        )
        assert not errors
        scrolled = client.search(index=INDEX, **SHOES, scroll="1m", size=25)
        seen = ids(scrolled.body)
        while (page := client.scroll(scroll_id=scrolled["_scroll_id"], scroll="1m"))["hits"]["hits"]:
            seen += ids(page.body)
        client.clear_scroll(scroll_id=scrolled["_scroll_id"])
        assert sorted(seen) == sorted(expected(line))
        many = client.msearch(searches=[{"index": "slimrank-test-bulk"}, {"size": 1}, {"index": UNRULED}, {"size": 2}])
        assert [len(each["hits"]["hits"]) for each in many["responses"]] == [1, 2]
        with pytest.raises(elasticsearch.NotFoundError):
            client.get(index="slimrank-test-bulk", id="missing")
        client.indices.delete(index="slimrank-test-bulk")
        assert line.was_untouched()
        assert ids(client.search(index=INDEX, **SHOES).body) == expected(line)[:10]
        mixed = client.msearch(searches=[{"index": INDEX}, SHOES, {"index": UNRULED}, SHOES])
        assert ids(mixed["responses"][0]) == expected(line)[:10]
        assert line.marks[-1] == "reranked; reason=rule shoes: 1 of 2 searches reranked"
