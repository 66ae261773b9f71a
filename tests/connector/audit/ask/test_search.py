"""The answers of one side: their order does not depend on internal document numbers, and no query can break the body."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connector.audit.ask import run
from connector.audit.ask.access import Reached, Sides
from connector.audit.ask.documents import Shelf
from connector.audit.ask.search import Searcher, fill
from connector.audit.spec import Side, Spec, parse_spec
from connector.cluster import Cluster, Refusal
from connector.fields import Template
from connector.gateway_client import GatewayScorer
from slimrank.errors import ConfigError, DataError, EngineRefused

Hits = list[tuple[str, float]]


def make_spec(**others: Any) -> Spec:
    before = {"url": "http://engine", "index": "v1", "fields": ["title"]}
    return parse_spec(
        {"before": before, "after": {"index": "v2"}, "queries": {"file": "q.txt"}, "k": 3, "depth": 5, **others}, "test"
    )


def searcher(
    answer: Callable[[dict[str, Any]], httpx.Response], spec: Spec, side: Side | None = None, scorer: GatewayScorer | None = None
) -> Searcher:
    def handle(request: httpx.Request) -> httpx.Response:
        return answer(json.loads(request.content))

    http = httpx.Client(base_url="http://engine", transport=httpx.MockTransport(handle))
    return Searcher(Reached(side or spec.before, Cluster(http), scorer), spec)


def over(hits: Hits) -> Callable[[dict[str, Any]], httpx.Response]:
    """Answer like an engine that has these hits."""

    def answer(body: dict[str, Any]) -> httpx.Response:
        some = [
            {"_index": "v1", "_id": doc_id, "_score": score, "_source": {"sku": doc_id}} for doc_id, score in hits[: body["size"]]
        ]
        return httpx.Response(200, json={"took": 1, "hits": {"total": {"value": len(hits)}, "hits": some}})

    return answer


def test_ties_are_ordered_by_business_id() -> None:
    answer, _ = searcher(over([("z", 3.0), ("c", 2.0), ("b", 2.0), ("a", 2.0)]), make_spec()).ask("red")
    assert answer["ids"] == ["z", "a", "b", "c"]


def test_scores_that_differ_only_in_the_last_bit_are_a_tie() -> None:
    answer, _ = searcher(over([("b", 2.0000001), ("a", 2.0)]), make_spec()).ask("red")
    assert answer["ids"] == ["a", "b"]


def test_more_hits_are_requested_until_a_tie_ends() -> None:
    hits = [("top", 9.0)] + [(f"t{number:02}", 1.0) for number in reversed(range(15))]
    answer, _ = searcher(over(hits), make_spec()).ask("red")
    assert answer["ids"] == ["top", "t00", "t01", "t02", "t03"]
    assert "open_tie" not in answer


def test_an_endless_tie_is_flagged() -> None:
    answer, _ = searcher(over([(f"t{number:05}", 1.0) for number in range(6000)]), make_spec()).ask("red")
    assert answer["open_tie"]


def test_an_order_by_a_sort_or_a_pipeline_is_kept() -> None:
    answer, _ = searcher(over([("c", 1.0), ("b", 3.0), ("a", 1.0)]), make_spec()).ask("red")
    assert answer["ids"] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("side", "default", "expected"),
    [({}, None, False), ({}, "p", True), ({"pipeline": "_none"}, "p", False), ({"pipeline": "q"}, None, True),
     ({"body": {"retriever": {"x": "{{query}}"}}}, None, True)],
)  # fmt: skip
def test_a_reranker_inside_the_engine_gets_the_text_and_the_configured_size(
    side: dict[str, Any], default: str | None, expected: bool
) -> None:
    bodies: list[dict[str, Any]] = []

    def keep(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return over([(f"t{number:02}", 1.0) for number in range(15)])(bodies[-1])

    spec = make_spec(after={"index": "v2", **side})
    http = httpx.Client(base_url="http://engine", transport=httpx.MockTransport(keep))
    Searcher(Reached(spec.after, Cluster(http), None, default), spec).ask("red")
    assert ("_source" not in bodies[0]) == expected
    assert (len(bodies) == 1) == expected  # more hits are requested for a tie, except if the engine reranks


def test_a_reranked_side_sends_the_first_stage_order_and_its_offset() -> None:
    sent: list[dict[str, Any]] = []

    def score(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        results = [{"index": number, "relevance_score": float(number)} for number in range(len(sent[-1]["documents"]))]
        return httpx.Response(200, json={"results": results, "meta": {"model": "m", "model_sha256": "w", "prompt_sha256": "p"}})

    def answer(body: dict[str, Any]) -> httpx.Response:
        hits = [{"_index": "v1", "_id": name, "_score": 1.0, "_source": {"title": name}} for name in "cab"]
        return httpx.Response(200, json={"took": 1, "hits": {"total": {"value": 3}, "hits": hits}})

    rerank = {"url": "http://gateway", "fields": ["title"], "rank_window_size": 3, "model": "m"}
    page = {"from": 20, "query": {"match": {"title": "{{query}}"}}}
    spec = make_spec(after={"rerank": rerank, "body": page})
    scorer = GatewayScorer("http://gateway", priority="audit", model="m", http=httpx.Client(transport=httpx.MockTransport(score)))
    asked = searcher(answer, spec, spec.after, scorer)
    found, _ = asked.ask("red")
    assert found["ids"] == ["c", "b", "a"]
    assert sent[0]["documents"] == ["a", "b", "c"]  # ties are ordered by business id, so a reindex cannot change a rank
    options = {name: sent[0].get(name) for name in ("first_stage_order", "first_stage_offset", "priority", "model", "raw_scores")}
    assert options == {
        "first_stage_order": True, "first_stage_offset": 20, "priority": "audit", "model": "m", "raw_scores": True,
    }  # fmt: skip
    assert scorer.identify() == {"score": 0.0, "model": "m", "model_sha256": "w", "prompt_sha256": "p"}


@pytest.mark.parametrize(("there", "missing"), [({"v1"}, "after"), ({"v2"}, "before")])
def test_a_missing_index_is_named_with_its_side(there: set[str], missing: str) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        name = request.url.path[1:]
        return httpx.Response(200, json={name: {}}) if name in there else httpx.Response(404, json={"error": "none"})

    spec = make_spec()
    cluster = Cluster(httpx.Client(base_url="http://engine", transport=httpx.MockTransport(handle)))
    sides = Sides(Reached(spec.before, cluster, None), Reached(spec.after, cluster, None))
    with pytest.raises(EngineRefused, match=rf"as `{missing}`, but http://engine has no such index; correct `{missing}\.index`"):
        sides.require_indices()


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_busy_restarting_or_slow_gateway_is_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_FIRST_PAUSE_SECONDS", 0.0)
    answers = [httpx.Response(status, json={"message": "later"})] * 2
    answers.append(httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 1.0}]}))
    spec = make_spec(after={"rerank": {"url": "http://gateway", "fields": ["title"]}}, requests_per_second=1e6)

    def engine(request: httpx.Request) -> httpx.Response:
        hit = {"_index": "v1", "_id": "a", "_score": 1.0, "_source": {"title": "a"}}
        return httpx.Response(200, json={"took": 1, "hits": {"total": {"value": 1}, "hits": [hit]}})

    cluster = Cluster(httpx.Client(base_url="http://engine", transport=httpx.MockTransport(engine)))
    gateway = httpx.Client(transport=httpx.MockTransport(lambda request: answers.pop(0)))
    sides = Sides(
        Reached(spec.before, cluster, None), Reached(spec.after, cluster, GatewayScorer("http://gateway", http=gateway))
    )
    assert run.Asker(spec, sides).ask("after", "red")[0]["ids"] == ["a"]
    assert not answers


def test_a_repeated_business_id_counts_once() -> None:
    answer, _ = searcher(over([("a", 3.0), ("a", 2.0), ("b", 1.0)]), make_spec()).ask("red")
    assert (answer["ids"], answer["duplicates"]) == (["a", "b"], 1)
    assert answer["scores"] == [3.0, 1.0]


def test_a_hit_without_the_business_id_stops_the_audit() -> None:
    with pytest.raises(DataError, match="id_field"):
        searcher(over([("a", 3.0)]), make_spec(id_field="ean")).ask("red")


def test_failed_shards_stop_the_audit() -> None:
    partial = {"took": 1, "_shards": {"failed": 1}, "hits": {"total": {"value": 0}, "hits": []}}
    with pytest.raises(DataError, match="1 shards"):
        searcher(lambda body: httpx.Response(200, json=partial), make_spec()).ask("red")


def test_a_query_that_a_side_refuses_is_a_finding() -> None:
    refused = {"error": {"root_cause": [{"reason": "Cannot parse 'red AND'"}]}}
    answer, _ = searcher(lambda body: httpx.Response(400, json=refused), make_spec()).ask("red AND")
    assert (answer["ids"], answer["error"]) == ([], "Cannot parse 'red AND'")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_side_that_cannot_answer_stops_the_audit(status: int) -> None:
    with pytest.raises(Refusal):
        searcher(lambda body: httpx.Response(status, json={"error": "no"}), make_spec()).ask("red")


@pytest.mark.parametrize("query", ['say "hi"', "back\\slash", '{"query": 1}', "{{query}}", "new\nline", "ünï 🧦"])
def test_any_query_text_arrives_unchanged(query: str) -> None:
    seen: list[dict[str, Any]] = []

    def keep(body: dict[str, Any]) -> httpx.Response:
        seen.append(body)
        return over([])(body)

    searcher(keep, make_spec()).ask(query)
    assert seen[0]["query"]["multi_match"]["query"] == query


def test_the_query_is_inserted_everywhere_in_a_users_body() -> None:
    template = {"query": {"bool": {"should": [{"match": {"a": "{{query}}"}}, {"match": {"b": {"query": "x {{query}}"}}}]}}}
    filled = fill(template, "red")
    assert filled["query"]["bool"]["should"] == [{"match": {"a": "red"}}, {"match": {"b": {"query": "x red"}}}]
    assert "{{query}}" in str(template)


def test_a_body_without_the_query_is_refused() -> None:
    spec = make_spec(after={"index": "v2", "body": {"query": {"match_all": {}}}})
    with pytest.raises(ConfigError, match="same hits"):
        searcher(over([]), spec, spec.after)


def test_after_inherits_the_settings_that_it_does_not_set() -> None:
    spec = make_spec(after={"index": "v2", "pipeline": "p"})
    assert (spec.after.url, spec.after.fields, spec.after.pipeline) == ("http://engine", ["title"], "p")


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="threshhold"):
        make_spec(threshhold=1)


def test_credentials_in_a_url_are_refused_since_reports_would_show_them() -> None:
    with pytest.raises(ConfigError, match="must not hold user or password"):
        make_spec(before={"url": "http://ann:secret@engine", "index": "v1", "fields": ["title"]})


@pytest.mark.parametrize(
    ("field", "source", "text"),
    [
        ("authors.name", {"authors": [{"name": "Ann"}, {"name": "Bo"}]}, "Ann Bo"),
        ("title.english", {"title": "red shoes"}, "red shoes"),
        ("a.b", {"a.b": ["x", None, "y"]}, "x y"),
    ],
)
def test_judges_and_the_reranker_read_the_text_that_the_search_reads(field: str, source: dict[str, Any], text: str) -> None:
    spec = make_spec(text_fields=[field])
    hit = {"_index": "v1", "_id": "1", "_source": source}
    http = httpx.Client(
        base_url="http://engine",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"hits": {"hits": [hit]}})),
    )
    found = Shelf(Reached(spec.before, Cluster(http), None), spec).fetch(["1"])
    assert found["1"]["text"] == text == Template.of([field]).render(hit)
