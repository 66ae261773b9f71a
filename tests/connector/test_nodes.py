"""The services that the tests start are real and empty."""

import os

import httpx
import pytest
import redis

from tests.nodes import java, process, require
from tests.nodes.engine import Engine


@pytest.mark.engine
def test_the_opensearch_node_indexes_and_finds_a_document(opensearch: Engine) -> None:
    url = f"{opensearch.url}/slimrank-test-nodes"
    httpx.put(f"{url}/_doc/1?refresh=true", json={"body": "gold ring"}, timeout=30).raise_for_status()
    found = httpx.post(f"{url}/_search", json={"query": {"match": {"body": "gold"}}}).json()
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]
    httpx.delete(url).raise_for_status()


@pytest.mark.redis
def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


def test_a_missing_service_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="no engine"):
        require.require("no engine")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must run this test, but no engine"):
        require.require("no engine")


def test_java_is_selected_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with process.scratch_folder() as home:
        home.chmod(0o755)
        (home / "bin").mkdir()
        (home / "bin" / "java").touch()
        (home / "release").write_text('JAVA_VERSION="1.8.0_292"\nMODULES="java.base java.xml"\n')
        monkeypatch.setenv("JAVA_HOME", str(home))
        assert java.find_java(8, 8) == home
        assert java.has_module(home, "java.xml")
        assert java.find_java(99) is None


def test_a_server_cannot_reach_a_private_folder_of_root() -> None:
    with process.scratch_folder() as folder:
        folder.chmod(0o700)
        assert process.is_reachable(folder / "cache") is (os.geteuid() != 0)
        folder.chmod(0o755)
        assert process.is_reachable(folder / "cache")
