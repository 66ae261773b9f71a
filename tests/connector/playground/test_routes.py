import json
import logging
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from connector.playground.policy import Policy
from connector.playground.routes import JudgedQuery, make_playground
from tests.connector.playground.pages import BrokenSource, fake_ranker, playground, running
from tests.connector.served import serving

QUERY = {"query": "delete a directory tree", "depth": 5}
OWN = {"url": "http://127.0.0.1:9", "index_name": "x", "fields": ["text"], "password": "s3cret", "user": "ann"}


def events(url: str, call: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}api/search", json=call, headers=headers)
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_search_answers_the_first_stage_and_then_its_scores(url: str) -> None:
    first, second = events(url, QUERY)
    assert first["hits"][0]["doc_id"] == "rmtree"
    assert (first["query_id"], first["ideal"]) == ("delete-tree", [2, 1, 0])
    assert {hit["doc_id"]: hit["relevance"] for hit in first["hits"]}["rmdir"] == 1
    assert len(second["scores"]) == len(second["probabilities"]) == len(first["hits"])
    assert {"queue_ms", "inference_ms", "tokens", "model"} <= second.keys()


def test_an_empty_result_is_one_event_without_hits(url: str) -> None:
    [event] = events(url, {"query": "zebra"})
    assert event["hits"] == []


def test_a_missed_deadline_only_fails_the_reranking() -> None:
    with running(playground(ranker=fake_ranker(seconds=1))) as slow:
        first, second = events(slow, QUERY | {"deadline_ms": 50})
    assert first["hits"] and (second["event"], second["stage"], second["kind"]) == ("failed", "rerank", "deadline_exceeded")


def test_a_failing_model_only_fails_the_reranking(url: str) -> None:
    answered = events(url, {"query": "fail"})
    assert answered[0]["hits"] == []
    with running(playground(source=_Everything())) as everything:
        first, second = events(everything, {"query": "fault"})
    assert first["hits"] and second["kind"] == "internal" and "/secret" not in second["message"]


def test_an_engine_that_is_down_is_reported_with_a_clear_message() -> None:
    with running(playground(source=BrokenSource())) as broken:
        [event] = events(broken, QUERY)
    assert event["stage"] == "first_stage" and "is the engine up" in event["message"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"query": "  "}, "query"),
        ({"depth": 0}, "depth"),
        ({"depth": 10_000}, "depth"),
        ({"own_index": OWN | {"url": "file:///etc/passwd"}}, "own_index.url"),
        ({"own_index": OWN | {"url": "http://ann:s3cret@host"}}, "own_index.url"),
        ({"own_index": OWN | {"index_name": "x/_search?q"}}, "own_index.index_name"),
        ({"own_index": OWN | {"index_name": "_all"}}, "own_index.index_name"),
        ({"own_index": OWN | {"fields": []}}, "own_index.fields"),
        ({"surprise": 1}, "surprise"),
        ({"own_documents": []}, "own_documents"),
        ({"own_documents": [{"doc_id": "a"}] * 10_001}, "own_documents"),
        ({"own_documents": [{"doc_id": "a", "text": "s3cret", "grade": 1}]}, "own_documents.0.grade"),
        ({"own_documents": [{"doc_id": "a"}], "own_index": OWN}, "the body"),
    ],
)
def test_an_invalid_call_is_refused_with_the_field_but_not_its_value(url: str, change: dict[str, Any], place: str) -> None:
    answer = httpx.post(f"{url}api/search", json=QUERY | change)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(place) and "s3cret" not in answer.text


def test_an_own_index_is_searched_from_this_machine_and_its_failure_is_reported(url: str) -> None:
    [event] = events(url, QUERY | {"own_index": OWN})
    assert event["message"].startswith("nothing answers at http://127.0.0.1:9")


def test_an_own_index_is_refused_if_others_can_reach_the_server() -> None:
    with running(playground(policy=Policy("0.0.0.0"))) as public:
        assert httpx.get(f"{public}api/about").json()["own_index"]["is_allowed"] is False
        answer = httpx.post(f"{public}api/search", json=QUERY | {"own_index": OWN})
    assert answer.status_code == 403 and "--allow-own-index" in answer.json()["message"]


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        ([{"_id": "1", "_source": {"name": "shoes", "body": "red"}}], "have no text in title, text; their fields are body, name"),
        ([], "holds no documents"),
        ([{"_id": "1", "_source": {"text": "red"}}], None),
    ],
)
def test_an_own_index_is_tested_before_it_is_used(url: str, hits: list[Any], words: str | None) -> None:
    with serving(lambda request: httpx.Response(200, json={"hits": {"hits": hits}})) as engine:
        named = OWN | {"url": engine, "fields": ["title", "text"]}
        answered = httpx.post(f"{url}api/index", json=named)
    assert answered.status_code == (422 if words else 200)
    assert (words or "ok") in answered.text


def test_a_collection_of_many_queries_offers_some_of_them_and_knows_all() -> None:
    many = [JudgedQuery(f"q{number}", f"query {number}", {}) for number in range(2000)]
    with running(playground(judged=many)) as unjudged:
        about = httpx.get(f"{unjudged}api/about").json()
        first, *_ = events(unjudged, {"query": "query 1999"})
    assert (len(about["examples"]), about["has_judgments"]) == (500, False)
    assert first["query_id"] == "q1999"


def test_a_text_that_is_too_large_is_refused(url: str) -> None:
    answer = httpx.post(f"{url}api/documents", json={"text": "a" * (2 * 2**20 + 1)})
    assert answer.status_code == 413 and "--data FILE" in answer.json()["message"]


@pytest.mark.parametrize("path", ["api/documents", "api/index", "api/search"])
def test_another_sites_page_may_send_nothing(url: str, path: str) -> None:
    assert httpx.post(url + path, json={}, headers={"origin": "http://evil.example"}).status_code == 403


def test_credentials_and_queries_are_not_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        events(url, QUERY | {"own_index": OWN})
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpcore", "httpx"))]
    assert not [line for line in ours if "s3cret" in line or "directory tree" in line]
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_another_sites_page_may_not_search(url: str, headers: dict[str, str]) -> None:
    assert httpx.post(f"{url}api/search", json=QUERY, headers=headers).status_code == 403


def test_a_body_that_a_form_could_send_is_refused(url: str) -> None:
    answer = httpx.post(f"{url}api/search", content=json.dumps(QUERY), headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_another_host_name_on_a_loopback_address_is_refused(url: str) -> None:
    answer = httpx.get(url, headers={"host": "rebound.example"})
    assert answer.status_code == 421 and "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "",
        "static/playground.js",
        "static/board.js",
        "static/playground.css",
        "static/icon.svg",
        "static/audits.js",
        "audits",
        "api/about",
        "api/audits",
    ],
)
def test_every_answer_carries_the_security_headers(url: str, path: str) -> None:
    answer = httpx.get(url + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "require-trusted-types-for 'script'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["static/../routes.py", "static/%2e%2e/routes.py", "static/none.js", "nowhere"])
def test_nothing_else_is_served(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 404


async def _get(app: Starlette, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.get(path)


def test_the_page_can_be_mounted_below_another_path() -> None:
    import asyncio

    app = Starlette(routes=[Mount("/playground", make_playground(playground()))])
    assert "slimrank playground" in asyncio.run(_get(app, "/playground/")).text
    assert asyncio.run(_get(app, "/playground/static/playground.js")).status_code == 200


class _Everything:
    """A first stage that finds the same hits for every query."""

    label = "everything"

    async def search(self, query: str, size: int) -> Any:
        from tests.connector.playground.pages import corpus

        return await corpus().search("directory", size)
