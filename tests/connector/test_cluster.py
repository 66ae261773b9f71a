"""Every transport error and every refusal of a cluster becomes a slimrank error with a cure."""

import httpx
import pytest

from connector.cluster import Cluster, Refusal, explain_transport, open_cluster
from slimrank.errors import ConfigError, EngineRefused, EngineUnavailable


def _cluster(status: int, **content: object) -> Cluster:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, **content))  # type: ignore[arg-type]
    return Cluster(httpx.Client(transport=transport, base_url="http://cluster:9200"))


@pytest.mark.parametrize("name", [name for name in httpx.__all__ if isinstance(getattr(httpx, name), type)])
def test_every_transport_error_of_httpx_is_explained(name: str) -> None:
    kind = getattr(httpx, name)
    if issubclass(kind, httpx.TransportError):
        assert "http://cluster" in str(explain_transport(kind("gone"), "http://cluster"))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "refused GET /x with 400: no such thing"),
        (401, "does not accept the credentials"),
        (403, "knows the user but forbids GET /x"),
        (429, "is overloaded"),
        (500, "with 500: no such thing"),
    ],
)
def test_a_refusal_contains_the_engines_message(status: int, words: str) -> None:
    cluster = _cluster(status, json={"error": {"root_cause": [{"reason": "no such thing"}], "reason": "outer"}})
    with pytest.raises(EngineRefused, match=words) as caught:
        cluster.read("/x")
    assert isinstance(caught.value, Refusal)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"json": {"error": "plain words"}}, "plain words"),
        ({"json": {"error": {"reason": "outer", "caused_by": {"reason": "inner"}}}}, "inner"),
        ({"text": "<html>bad gateway</html>"}, "<html>bad gateway</html>"),
        ({"text": ""}, "Bad Request"),
        ({"json": ["list"]}, "['list']"),
    ],
)
def test_the_reason_is_found_in_every_error_format(content: dict[str, object], reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        _cluster(400, **content).read("/x")
    assert caught.value.reason == reason


def test_an_answer_that_is_not_json_is_not_a_search_engines() -> None:
    with pytest.raises(EngineUnavailable, match="is a search engine at that URL"):
        _cluster(200, text="<html>").read("/")


def test_find_returns_none_for_404_and_raises_other_refusals() -> None:
    assert _cluster(404, json={}).find("/x") is None
    with pytest.raises(Refusal):
        _cluster(500, json={}).find("/x")


@pytest.mark.parametrize("url", ["cluster:9200", "", "/path", "ftp://cluster"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_cluster(url)
