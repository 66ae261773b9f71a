"""The compose file for real: up, indexed, searched, reranked, audited; a worker killed, Redis restarted, three workers.

    make test-stack
    SLIMRANK_TEST_STACK=running .venv/bin/python -m pytest tests/stack     # on a stack that is up already

Not part of the default run: it needs a Docker daemon, the ports of the compose file, and minutes. What it started it
stops, and leaves the volumes: the model in them took minutes to make.
"""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.deploy.test_observability import ALERTS, DASHBOARD, plain
from tests.stack.compose import GATEWAY, OPENSEARCH, PLAYGROUND, PROMETHEUS, ask, compose, containers, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("SLIMRANK_TEST_STACK" not in os.environ, reason="brings the whole stack up; make test-stack runs it"),
    pytest.mark.timeout(3600),
]

QUERY = "run a shell command and capture its output"
BODY = {
    "query": QUERY,
    "documents": [
        "os.listdir(path): list the names in a directory",
        "subprocess.run(args): run a command and wait for it to finish",
    ],
}
AUDIT = """
before: {url: http://opensearch:9200, index: python-docs, fields: [title, text]}
after: {index: python-docs-plain}
queries: {file: /demo/python-docs/queries.jsonl}
sample: {size: 12}
judges: [{kind: qrels, file: /demo/python-docs/qrels/test.tsv, human: true}]
"""


@pytest.fixture(scope="module", autouse=True)
def stack() -> Iterator[None]:
    """Bring everything up, model and index included, and take it down; one that runs already is used and left."""
    if os.environ["SLIMRANK_TEST_STACK"] == "running":
        yield
        return
    try:
        compose("up", "--build", "--detach", "--quiet-pull")
        eventually(
            lambda: "http://localhost:8090/" in compose("logs", "--no-log-prefix", "ready"),
            seconds=120,
            what="the URL is printed",
        )
        yield
    finally:
        compose("down", "--timeout", "5")


def scores() -> bool:
    return set(ask("POST", f"{GATEWAY}/v1/rerank", json=BODY)) >= {"results", "usage"}


def alive() -> int:
    """Return how many workers show their sign of life."""
    found = json.loads(
        compose("run", "--rm", "-T", "tools", "doctor", "--json", "--gateway", "http://gateway:8080", codes=(0, 1))
    )
    words: str = next(finding["words"] for finding in found if finding["name"] == "redis")
    return int(words.split(", ")[1].split()[0])


def test_everything_that_serves_is_healthy() -> None:
    for container in containers():
        state = container["State"]
        assert state["ExitCode"] == 0 and state.get("Health", {}).get("Status", "healthy") in ("healthy", "starting"), container[
            "Name"
        ]


def test_no_process_is_root_and_none_can_write_its_image() -> None:
    for container in containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        assert container["Config"]["User"].partition(":")[0] not in ("", "0", "root"), service
        assert container["HostConfig"]["ReadonlyRootfs"] is True, service
        assert container["HostConfig"]["CapDrop"] == ["ALL"], service


def test_the_corpus_is_indexed_once() -> None:
    count = ask("GET", f"{OPENSEARCH}/python-docs/_count")["count"]
    assert count > 5000
    assert "is there already" in compose("run", "--rm", "-T", "--no-deps", "indexer")
    assert ask("GET", f"{OPENSEARCH}/python-docs/_count")["count"] == count


def test_a_query_is_searched_reranked_and_judged_on_the_page() -> None:
    about = ask("GET", f"{PLAYGROUND}/api/about")
    assert QUERY in [query["text"] for query in about["judged"]]
    answer = httpx.post(f"{PLAYGROUND}/api/search", json={"query": QUERY, "depth": 10}, timeout=120)
    first_stage, reranked = (json.loads(line) for line in answer.text.splitlines())
    assert reranked["event"] == "reranked" and reranked["model"] == "slimrank-135m"
    assert len(reranked["scores"]) == len(first_stage["hits"]) == 10
    assert any(hit["relevance"] for hit in first_stage["hits"])


def test_the_gateway_puts_the_right_document_first() -> None:
    assert ask("POST", f"{GATEWAY}/v1/rerank", json=BODY)["results"][0]["index"] == 1


def test_prometheus_sees_gateway_and_worker_and_alerts_are_loaded() -> None:
    def seen() -> bool:
        found = ask("GET", f"{PROMETHEUS}/api/v1/query", params={"query": "up"})["data"]["result"]
        return {result["metric"]["job"] for result in found if result["value"][1] == "1"} == {"gateway", "worker"}

    eventually(seen, seconds=60, what="both jobs are up")
    assert ask("GET", f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]


def test_an_audit_of_a_reindex_runs_inside_the_stack_and_shows_on_the_page() -> None:
    httpx.delete(f"{OPENSEARCH}/python-docs-plain", timeout=60)
    mapping: dict[str, Any] = {"properties": {name: {"type": "text", "analyzer": "whitespace"} for name in ("title", "text")}}
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    ask("PUT", f"{OPENSEARCH}/python-docs-plain", json={"settings": settings, "mappings": mapping})
    body = {"source": {"index": "python-docs"}, "dest": {"index": "python-docs-plain"}}
    ask("POST", f"{OPENSEARCH}/_reindex?refresh=true", json=body)
    compose(
        "run", "--rm", "-T", "--entrypoint", "sh", "tools", "-c", "rm -rf /audits/stack; cat > /audits/stack.yaml", stdin=AUDIT
    )
    compose("run", "--rm", "-T", "tools", "audit", "gate", "/audits/stack.yaml", "--out", "/audits/stack", codes=(0, 1, 2))
    assert [audit["name"] for audit in ask("GET", f"{PLAYGROUND}/api/audits")] == ["stack"]
    assert "python-docs-plain" in httpx.get(f"{PLAYGROUND}/audits/stack", timeout=60).text


def test_three_workers_share_the_load_and_losing_one_loses_no_request() -> None:
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=3")
    eventually(lambda: alive() == 3, seconds=300, what="three workers are alive")

    answers: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.append(httpx.post(f"{GATEWAY}/v1/rerank", json=BODY, timeout=120).status_code)

    callers = [threading.Thread(target=load) for _ in range(3)]
    for caller in callers:
        caller.start()
    eventually(lambda: len(answers) > 10, seconds=120, what="requests are answered")
    victim = containers("worker")[0]["Id"]
    subprocess.run(["docker", "kill", "--signal", "KILL", victim], check=True, capture_output=True)
    before = len(answers)
    eventually(lambda: len(answers) > before + 30, seconds=240, what="requests go on")
    stop.set()
    for caller in callers:
        caller.join()
    assert set(answers) == {200}
    eventually(lambda: alive() == 2, seconds=30, what="the dead worker is missed")


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_prometheus_answers_what_a_panel_asks(panel: dict[str, Any]) -> None:
    """A panel whose metrics have been counted shows something; one of events that did not happen may be empty, never wrong."""
    counted = set(ask("GET", f"{PROMETHEUS}/api/v1/label/__name__/values")["data"])

    def shown(query: str) -> bool:
        found = ask("GET", f"{PROMETHEUS}/api/v1/query", params={"query": plain(query)})
        return bool(found["data"]["result"])

    for query in [target["expr"] for target in panel["targets"]]:
        if set(re.findall(r"slimrank_\w+", query)) <= counted:
            eventually(partial(shown, query), seconds=60, what=f"{query} shows something")
        else:
            shown(query)


def test_prometheus_evaluates_every_alert_without_an_error() -> None:
    rules = [rule for group in ask("GET", f"{PROMETHEUS}/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in ALERTS}
    assert {rule["health"] for rule in rules} == {"ok"}


def test_a_restarted_redis_is_found_again() -> None:
    compose("restart", "--timeout", "5", "redis")
    eventually(scores, seconds=120, what="requests are scored again")


def test_one_worker_is_enough_again() -> None:
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=1")
    eventually(lambda: scores() and alive() == 1, seconds=240, what="one worker serves")
