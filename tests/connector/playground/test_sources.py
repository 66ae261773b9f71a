import asyncio
import json

import httpx
import pytest

from connector.playground.sources import EngineAddress, EngineSource
from slimrank.errors import EngineError, EngineRefused, EngineUnavailable

ADDRESS = EngineAddress("https://search.example:9200", "products", ("title", "text"), "ann", "s3cret")
HIT = {"_id": "p1", "_score": 3.5, "_source": {"title": "A chair", "text": "Oak.", "tags": ["x"]}}


def search(answer: httpx.Response, address: EngineAddress = ADDRESS) -> tuple[object, list[httpx.Request]]:
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer

    source = EngineSource(address, transport=httpx.MockTransport(handle))
    return asyncio.run(source.search("an oak chair", 7)), sent


def test_the_search_names_the_fields_and_sends_the_password() -> None:
    found, [request] = search(httpx.Response(200, json={"hits": {"hits": [HIT]}}))
    assert str(request.url) == "https://search.example:9200/products/_search"
    assert json.loads(request.content) == {
        "size": 7,
        "_source": ["title", "text"],
        "query": {"multi_match": {"query": "an oak chair", "fields": ["title", "text"]}},
    }
    assert request.headers["authorization"] == "Basic YW5uOnMzY3JldA=="
    assert [(hit.doc_id, hit.title, hit.text, hit.score) for hit in found.hits] == [("p1", "A chair", "Oak.", 3.5)]  # type: ignore[attr-defined]


def test_an_api_key_is_sent_in_the_engines_format() -> None:
    address = EngineAddress("http://localhost:9200", "products", ("text",), api_key="k3y")
    _, [request] = search(httpx.Response(200, json={"hits": {"hits": []}}), address)
    assert request.headers["authorization"] == "ApiKey k3y"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, text="no"), "does not accept the credentials"),
        (httpx.Response(404, json={"error": {"reason": "no such index"}}), "has no index called products"),
        (httpx.Response(400, json={"error": {"root_cause": [{"reason": "bad field"}]}}), "bad field"),
        (httpx.Response(502, text="<html>secret of an inner host</html>"), "it gave no reason"),
        (httpx.Response(302, headers={"location": "http://169.254.169.254/"}), "302"),
    ],
)
def test_a_refusal_of_the_engine_is_explained(answer: httpx.Response, words: str) -> None:
    with pytest.raises(EngineRefused, match=words) as caught:
        search(answer)
    assert "s3cret" not in str(caught.value) and "inner host" not in str(caught.value)


def test_a_server_that_is_not_an_engine_is_reported_without_quoting_its_answer() -> None:
    with pytest.raises(EngineUnavailable, match="not a search engine's") as caught:
        search(httpx.Response(200, text="metadata of a cloud machine"))
    assert "metadata" not in str(caught.value)


def test_an_engine_that_is_down_gives_a_clear_error() -> None:
    with pytest.raises(EngineError, match=r"nothing answers at http://127\.0\.0\.1:9"):
        asyncio.run(EngineSource(EngineAddress("http://127.0.0.1:9", "x", ("text",))).search("query", 5))


def test_no_repr_contains_secrets() -> None:
    assert "s3cret" not in repr(ADDRESS) and "products" in repr(ADDRESS)
