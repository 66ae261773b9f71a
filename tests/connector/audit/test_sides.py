"""Other kinds of sides and sources on real engines: reranked hits, UBI, derived queries, another engine, queue workers."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connector.audit.ask.access import Access
from connector.audit.ask.plan import estimate, make_plan
from connector.audit.ask.run import run_audit
from connector.audit.ask.state import read_state
from connector.audit.ask.tasks import audit_chunk, enqueue
from connector.audit.flow import audit
from connector.audit.folder import Folder
from connector.audit.spec import Queries
from connector.audit.sweep import sweep
from slimrank.errors import ConfigError
from slimrank.serving.queue.celery_app import make_app
from slimrank.settings import Settings
from tests.connector.audit.auditing import audit_shop, shop_spec
from tests.connector.audit.shop import PROPERTIES, SETTINGS, THINGS, Index, Shop, make_shop
from tests.connector.served import serving
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine
LEMMAS = {form: lemma for lemma, forms in (THINGS | PROPERTIES).items() for form in forms}


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(products=300, queries=40)


@pytest.fixture(scope="module")
def index(opensearch: Engine, shop: Shop) -> Iterator[Index]:
    made = Index(opensearch.url, "shop_v1").make(shop.products)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """Yield a gateway whose score is the share of the query's things and properties that a text has."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        wanted = {LEMMAS.get(word, word) for word in body["query"].lower().split()}
        scores = [len(wanted & {LEMMAS.get(w, w) for w in text.lower().split()}) / len(wanted) for text in body["documents"]]
        results = [{"index": number, "relevance_score": score} for number, score in enumerate(scores)]
        return httpx.Response(200, json={"results": results[::-1]}, headers={"content-type": "application/json"})

    with serving(answer) as url:
        yield url


def reranked(gateway: str, **others: Any) -> dict[str, Any]:
    return {"index": "shop_v1", "rerank": {"url": gateway, "fields": ["title", "text"], "rank_window_size": 40, **others}}


def test_a_first_stage_is_compared_with_a_reranked_side(index: Index, shop: Shop, gateway: str, tmp_path: Path) -> None:
    judges = [{"kind": "qrels", "file": str(tmp_path / "qrels.tsv"), "human": True}, {"kind": "reranker", "url": gateway}]
    report = audit_shop(tmp_path, shop, index.url, reranked(gateway), judges=judges)
    assert report["queries"]["changed"] > 0
    assert report["causes"]["causes"][0]["kind"] == "query"
    assert report["content"]["same"]
    assert isinstance(report["after"]["ranker"]["score"], float)
    assert "ranker" not in report["before"]
    partial = [judge["partial"] for judge in report["judges"]["judges"]]
    assert partial[0] is None
    assert "a judge favours its own family" in partial[1]
    agreement = report["judges"]["agreement"][0]
    assert agreement["human"]
    assert agreement["kappa"]["low"] <= agreement["kappa"]["value"] <= agreement["kappa"]["high"]


def test_planning_a_reranked_audit_prints_its_pairs(index: Index, shop: Shop, gateway: str, tmp_path: Path) -> None:
    spec = shop_spec(tmp_path, shop, index.url, reranked(gateway), sample={"size": 10})
    with Access().reach(spec) as sides:
        make_plan(spec, folder := Folder(tmp_path / "audit"), sides)
        cost = estimate(spec, folder, sides)
    assert (cost.queries, cost.searches, cost.pairs) == (10, 20, 400)
    assert cost.hours > 0


def test_the_deepest_point_of_a_sweep_equals_the_audit(index: Index, shop: Shop, gateway: str, tmp_path: Path) -> None:
    spec = shop_spec(tmp_path, shop, index.url, reranked(gateway))
    folder = Folder(tmp_path / "audit")
    report = audit(spec, folder, Access())
    with Access().reach(spec) as sides:
        found = sweep(folder, sides.after, depths=(0, 10, 40))
        with pytest.raises(ConfigError, match="not reranked"):
            sweep(folder, sides.before)
    ndcg = {point["depth"]: point["ndcg"] for point in found["points"]}
    assert ndcg[40] == pytest.approx(report["paired"][0]["after"], abs=0.02)  # first-stage ties are ordered differently
    assert folder.has("sweep.json")


def test_queries_come_from_ubi_with_their_counts(index: Index, shop: Shop, tmp_path: Path) -> None:
    mappings = {
        "properties": {"user_query": {"type": "keyword"}, "timestamp": {"type": "date"}, "application": {"type": "keyword"}}
    }
    ubi = Index(index.url, "ubi_test").make([], {"number_of_replicas": 0}, mappings)
    asked = ["folding chair"] * 5 + ["wood table"] * 2 + ["mail me at ann@example.org"] + ["old lamp"]
    rows = [{"user_query": text, "timestamp": "2026-11-01", "application": "web", "sku": str(n)} for n, text in enumerate(asked)]
    rows[-1]["timestamp"] = "2020-01-01"
    ubi.put(rows)
    try:
        spec = shop_spec(
            tmp_path, shop, index.url, {}, queries={"ubi": {"index": "ubi_test", "since": "2026-01-01", "application": "web"}}
        )
        with Access().reach(spec) as sides:
            make_plan(spec, folder := Folder(tmp_path / "audit"), sides)
    finally:
        ubi.drop()
    assert {query.query: query.weight for query in folder.queries()} == {"folding chair": 5, "wood table": 2}
    assert folder.plan["dropped_as_personal"] == 1


def test_queries_can_be_derived_from_documents(index: Index, shop: Shop, tmp_path: Path) -> None:
    plans = []
    for name in ("a", "b"):
        spec = shop_spec(tmp_path, shop, index.url, {}, queries={"derived": {"field": "title", "count": 30, "words": 2}})
        with Access().reach(spec) as sides:
            make_plan(spec, folder := Folder(tmp_path / name), sides)
        plans.append([query.query for query in folder.queries()])
    assert plans[0] == plans[1]
    assert plans[0]
    assert all(len(query.split()) == 2 for query in plans[0])
    assert Queries(derived={"field": "title"}).derived is not None  # type: ignore[arg-type]


def test_queue_workers_and_threads_write_the_same_bytes(
    index: Index, shop: Shop, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shop_spec(tmp_path, shop, index.url, {"fields": ["title", "text^3"]})
    by_threads, by_queue = Folder(tmp_path / "threads"), Folder(tmp_path / "queue")
    for folder in (by_threads, by_queue):
        with Access().reach(spec) as sides:
            make_plan(spec, folder, sides)
    with Access().reach(spec) as sides:
        run_audit(by_threads, sides)
    monkeypatch.setenv("SLIMRANK_REDIS_URL", redis_url)
    assert enqueue(make_app(Settings(redis_url=redis_url)), by_queue, Access(), workers=1) == len(by_queue.chunks)
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "slimrank.serving.queue.celery_app",
        "worker",
        "-Q",
        "audit",
        "-I",
        "connector.audit.ask.tasks",
    ]
    worker = subprocess.Popen([*command, "--concurrency", "1", "--pool", "solo", "--loglevel", "error"])
    try:
        _wait_until(lambda: not by_queue.missing_chunks(), worker)
    finally:
        worker.terminate()
        worker.wait(30)
    for number in by_threads.chunks:
        assert by_threads.answers_file(number).read_bytes() == by_queue.answers_file(number).read_bytes()
        assert by_threads.documents_file(number).read_bytes() == by_queue.documents_file(number).read_bytes()
    first = by_queue.answers_file(0)
    before = first.stat().st_mtime_ns
    audit_chunk(str(by_queue.path), 0, 1)
    assert first.stat().st_mtime_ns == before


def _wait_until(done: Any, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, "the worker ended"
        assert time.monotonic() < end, "the worker did not finish"
        time.sleep(0.2)


@pytest.fixture
def reranking_engine(index: Index) -> Iterator[str]:
    """Yield the engine behind a front that has a rerank pipeline, which the published artifacts of OpenSearch lack.

    It works like the rerank processor: it scores the ``_source`` of all requested hits, and sorts the hits by the scores.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/_search/pipeline/by_meaning":
            return httpx.Response(200, json={"by_meaning": {"response_processors": [{"rerank": {"ml_opensearch": {}}}]}})
        parameters = dict(request.url.params)
        is_reranked = parameters.pop("search_pipeline", None) == "by_meaning"
        found = index.http.request(request.method, request.url.path, params=parameters, content=request.content,
                                   headers={"content-type": "application/json"})  # fmt: skip
        answered = found.json()
        if is_reranked:
            wanted = {LEMMAS.get(word, word) for word in json.loads(request.content)["query"]["multi_match"]["query"].split()}
            for hit in answered["hits"]["hits"]:
                words = f"{hit['_source']['title']} {hit['_source']['text']}".lower().split()
                hit["_score"] = len(wanted & {LEMMAS.get(word, word) for word in words}) + hit["_score"] / 1000
            answered["hits"]["hits"].sort(key=lambda hit: -hit["_score"])
        return httpx.Response(found.status_code, json=answered)

    with serving(answer) as url:
        yield url


def test_a_rerank_pipeline_inside_the_engine_is_audited_and_named(
    index: Index, shop: Shop, reranking_engine: str, tmp_path: Path
) -> None:
    report = audit_shop(tmp_path, shop, index.url, {"url": reranking_engine, "index": "shop_v1", "pipeline": "by_meaning"})
    assert report["queries"]["changed"] > 0
    assert report["causes"]["causes"][0]["kind"] in ("query", "pipeline")
    assert {"query", "pipeline"} <= {cause["kind"] for cause in report["causes"]["causes"]}
    assert "rerank" in json.dumps(report["after"]["pipeline"])


def test_the_state_of_an_index_includes_its_default_pipeline(index: Index, shop: Shop, tmp_path: Path) -> None:
    index.http.put("/_search/pipeline/audit_default", json={"request_processors": []}).raise_for_status()
    after = Index(index.url, "shop_v2").make(shop.products, {**SETTINGS, "search.default_pipeline": "audit_default"})
    spec = shop_spec(tmp_path, shop, index.url, {"index": "shop_v2"})
    try:
        with Access().reach(spec) as sides:
            assert sides.before.pipeline is None
            assert sides.after.pipeline == "audit_default"
            was = read_state(sides.after)
            index.http.put("/_search/pipeline/audit_default", json={"description": "another", "request_processors": []})
            assert read_state(sides.after)["fingerprint"] != was["fingerprint"]
    finally:
        after.drop()
        index.http.delete("/_search/pipeline/audit_default")


@pytest.mark.parametrize("version", ["7", "8"])
def test_opensearch_against_elasticsearch(
    index: Index, shop: Shop, tmp_path: Path, version: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(f"elasticsearch_{version}")
    plain = {"properties": {"title": {"type": "text"}, "text": {"type": "text"}}}
    here = Index(index.url, "plain_v1").make(shop.products, {"number_of_replicas": 0}, plain)
    there = Index(engine.url, "plain_v1").make(shop.products, {"number_of_replicas": 0}, plain)
    worse = Index(engine.url, "plain_v2").make(shop.products[::2], {"number_of_replicas": 0}, plain)
    try:
        before = {"url": here.url, "index": "plain_v1", "fields": ["title^2", "text"]}
        report = audit_shop(tmp_path / "across", shop, here.url, {"url": engine.url}, before=before)
        alone = audit_shop(tmp_path / "alone", shop, engine.url, {"index": "plain_v2"}, before={**before, "url": engine.url})
    finally:
        for made in (here, there, worse):
            made.drop()
    assert report["content"]["same"]
    assert report["before"]["distribution"] == "opensearch"
    assert (report["after"]["distribution"], report["after"]["version"][0]) == ("elasticsearch", version)
    # the same Lucene formula but another version: the engine must be named as the cause of every change
    assert [cause["kind"] for cause in report["causes"]["causes"]] in ([], ["engine"])
    assert (alone["verdict"], alone["causes"]["causes"][0]["kind"]) == ("fail", "documents lost")
