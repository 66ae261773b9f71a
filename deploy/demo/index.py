"""Put the demo corpus into a search engine under the alias ``python-docs``, and let the engine rerank it if it can.

    python3 -m deploy.demo.index --engine http://localhost:9200 --corpus FOLDER [--gateway http://slimrank:8080]

Run by ``docker-compose.yml``. The index has a hash of its content in its name, so that a second run finds it and does
nothing. The documentation of another Python gets another index; then the alias moves in one step, and the old index is
deleted.

``--corpus`` is the folder that the BEIR files are written to, for the playground's judged queries. With ``--gateway``, the
search pipeline ``slimrank`` is installed too, as ``slimrank connect opensearch install`` does. If the engine cannot rerank
(see ``connector.facts``), nothing is installed and a line says so: the search page does not need the pipeline.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import httpx

from connector.cluster import Cluster, explain_transport, open_cluster
from connector.opensearch import install as opensearch
from connector.opensearch import window_size
from slimrank.errors import EngineRefused, EngineUnavailable, PipelineNotInstalled, SlimrankError
from slimrank.evaluation import beir
from slimrank.evaluation.python_docs import corpus

ALIAS = "python-docs"
BATCH = 500
PATIENCE_SECONDS = 120.0
BODY = {
    "settings": {"number_of_shards": 1, "number_of_replicas": 0},
    "mappings": {"properties": {"title": {"type": "text"}, "text": {"type": "text"}}},
}


def index_corpus(cluster: Cluster, folder: Path) -> tuple[str, int]:
    """Index a BEIR folder, unless the same content is already indexed, and point the alias at the index.

    Returns:
        The index's name, and the number of documents sent: 0 if the index was there.

    Raises:
        EngineError: the engine does not answer, or refuses.
    """
    name = f"{ALIAS}-{hashlib.sha256((folder / 'corpus.jsonl').read_bytes()).hexdigest()[:12]}"
    before = list(cluster.find(f"/_alias/{ALIAS}") or {})
    if before == [name]:
        return name, 0
    if cluster.find(f"/{name}") is not None:  # incomplete, since an earlier run ended before the alias moved
        cluster.write("DELETE", f"/{name}")
    cluster.write("PUT", f"/{name}", BODY)
    documents = beir.iterate_documents(folder)
    count = 0
    while batch := list(islice(documents, BATCH)):
        _send(cluster, name, batch)
        count += len(batch)
    cluster.write("POST", f"/{name}/_refresh")
    old = [{"remove_index": {"index": other}} for other in before]
    cluster.write("POST", "/_aliases", {"actions": [{"add": {"index": name, "alias": ALIAS}}, *old]})
    return name, count


def _send(cluster: Cluster, name: str, documents: Sequence[beir.Document]) -> None:
    lines: list[object] = []
    for document in documents:
        lines += [{"index": {"_id": document.doc_id}}, {"title": document.title, "text": document.text}]
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    headers = {"content-type": "application/x-ndjson"}
    try:
        answer = cluster.http.post(f"/{name}/_bulk", content=body.encode(), headers=headers)
    except httpx.HTTPError as error:
        raise explain_transport(error, str(cluster.http.base_url)) from error
    if answer.status_code >= 400 or answer.json()["errors"]:
        raise EngineRefused(f"asked {cluster.http.base_url} to index {len(documents)} documents, found: {answer.text[:300]}")


def wait_for(cluster: Cluster, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the engine answers.

    Raises:
        EngineUnavailable: it did not answer within ``patience_seconds``.
    """
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            cluster.read("/_cluster/health")
            return
        except EngineUnavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def install_pipeline(cluster: Cluster, gateway: str) -> str:
    """Install the search pipeline ``slimrank`` if the engine supports it; return the result as a sentence."""
    try:
        window_size.install(cluster, opensearch.InstallPlan(gateway, ["text"]))
    except PipelineNotInstalled as reason:
        return f"no search pipeline, which the search page does not need: {reason}"
    return "search pipeline slimrank is installed"


def main() -> int:
    """Build, index and install; the exit status is 1 if the engine refuses."""
    parser = argparse.ArgumentParser(description="Index the demo corpus, once.")
    parser.add_argument("--engine", required=True, metavar="URL", help="OpenSearch or Elasticsearch")
    parser.add_argument("--corpus", type=Path, required=True, metavar="FOLDER", help="folder to write the BEIR files to")
    parser.add_argument("--gateway", metavar="URL", help="slimrank's address for the engine's nodes; installs a search pipeline")
    chosen = parser.parse_args()
    corpus.build(chosen.corpus)
    try:
        with open_cluster(chosen.engine) as cluster:
            wait_for(cluster)
            name, sent = index_corpus(cluster, chosen.corpus)
            print(f"{name}: {sent} documents indexed" if sent else f"{name}: is there already")
            if chosen.gateway:
                print(install_pipeline(cluster, chosen.gateway))
    except SlimrankError as error:
        print(f"slimrank: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
