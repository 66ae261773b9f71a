"""The demo corpus in an engine: complete, indexed once, and replaced in one step."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from connector.cluster import Cluster, open_cluster
from deploy.demo import index
from slimrank.errors import EngineUnavailable
from slimrank.evaluation import beir
from tests.nodes.engine import Engine


def corpus(folder: Path, *texts: str) -> Path:
    beir.write_documents(folder, [beir.Document(f"d{i}", f"title {i}", text) for i, text in enumerate(texts)])
    return folder


@pytest.fixture
def cluster(opensearch: Engine) -> Iterator[Cluster]:
    with open_cluster(opensearch.url) as cluster:
        yield cluster


@pytest.mark.engine
def test_a_corpus_is_indexed_once_and_a_new_one_replaces_it(cluster: Cluster, tmp_path: Path) -> None:
    first = corpus(tmp_path / "first", "run a command", "kill a child")
    name, sent = index.index_corpus(cluster, first)
    assert sent == 2
    assert index.index_corpus(cluster, first) == (name, 0)

    newer, sent = index.index_corpus(cluster, corpus(tmp_path / "second", "run a command", "kill a child", "count cores"))
    assert sent == 3 and cluster.find(f"/{name}") is None
    assert cluster.read(f"/{index.ALIAS}/_count")["count"] == 3
    assert list(cluster.read(f"/_alias/{index.ALIAS}")) == [newer]


@pytest.mark.engine
def test_an_incomplete_index_is_made_again(cluster: Cluster, tmp_path: Path) -> None:
    folder = corpus(tmp_path, "half", "a corpus")
    name, _ = index.index_corpus(cluster, folder)
    cluster.write("DELETE", f"/{name}")
    cluster.write("PUT", f"/{name}", index.BODY)  # no alias, no documents
    assert index.index_corpus(cluster, folder) == (name, 2)


@pytest.mark.engine
def test_an_engine_without_a_reranker_is_left_as_it_is(cluster: Cluster) -> None:
    assert "lacks opensearch-ml" in index.install_pipeline(cluster, "http://gateway:8080")


def test_waiting_for_an_engine_ends_after_some_time() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    client = httpx.Client(base_url="http://engine:9200", transport=httpx.MockTransport(refuse))
    with pytest.raises(EngineUnavailable, match="http://engine:9200"):
        index.wait_for(Cluster(client), patience_seconds=0)
