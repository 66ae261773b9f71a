"""Calls to a real OpenSearch with ML Commons and its answers, to check that our stand-in answers the same.

This module makes the recordings, with a separate cluster that has no models yet:

    python -m tests.connector.exchanges http://localhost:9200 > tests/connector/recorded/ml-commons-3.5.json

Ids, times and similar values differ from run to run and are replaced: ``<model_id-1>`` is the first model that was created.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx

from connector.opensearch import bodies
from slimrank.types import Json
from tests.connector.fake_gateway import answering, overlap_gateway
from tests.connector.served import serving

INDICES = ("connector", "model", "model-group", "task")
_ML = "/_plugins/_ml"
_IDS = ("connector_id", "model_id", "task_id", "model_group_id")
_VOLATILE = {
    "took", "timed_out", "_shards", "_version", "_seq_no", "_primary_term", "_score", "max_score", "_index", "forced_refresh",
    "created_time", "create_time", "last_updated_time", "last_update_time", "last_deployed_time", "last_undeployed_time",
    "latest_version", "worker_node", "planning_worker_nodes", "planning_worker_node_count", "current_worker_node_count",
    "auto_redeploy_retry_times", "deploy_to_all_nodes", "is_hidden", "is_async", "client_config", "stack_trace",
}  # fmt: skip
_ONGOING = {"DEPLOYING": "DEPLOYED", "RUNNING": "COMPLETED", "CREATED": "COMPLETED"}
_MARK = "Made by slimrank connect."
_ALL: Json = {"query": {"match_all": {}}}


def _connector(gateway: str, name: str = "slimrank") -> Json:
    """Return the body of a connector with ML Commons' own functions, so that a change of our scripts needs no new recording."""
    action = {
        "action_type": "predict",
        "method": "POST",
        "url": f"{gateway}/v1/rerank",
        "headers": {"Authorization": "Bearer ${credential.api_key}", "Content-Type": "application/json"},
        "request_body": '{ "documents": ${parameters.documents}, "query": "${parameters.query}", "top_n": ${parameters.top_n} }',
        "pre_process_function": "connector.pre_process.cohere.rerank",
        "post_process_function": "connector.post_process.cohere.rerank",
    }
    return {
        "name": name,
        "description": f"{_MARK} spec 1 undo e30",
        "version": "1",
        "protocol": "http",
        "parameters": {},
        "credential": {"api_key": "secret"},
        "client_config": {"max_connection": 30, "connection_timeout": 2, "read_timeout": 5},
        "actions": [action],
    }


def _model(connector: int, name: str = "slimrank") -> Json:
    return bodies.model(name, f"<connector_id-{connector}>", description=_MARK)


def _by(field: str, value: str, kind: str = "term") -> Json:
    return {"query": {kind: {field: value}}}


_TWO = bodies.predict("gold ring", ["gold ring", "lead pipe"])
_TRUSTED = {"persistent": {bodies.TRUSTED: ["^http://.*$"], bodies.PRIVATE_IP: True}}
_UNTRUSTED: Json = {"persistent": {bodies.TRUSTED: None, bodies.PRIVATE_IP: None}}
NOWHERE, UNKNOWN = "http://127.0.0.1:1", "http://no-such-host.invalid"


def _failing(number: int, gateway: str) -> list[tuple[str, str, Json | None]]:
    """Return the calls for a gateway that cannot be reached: create, predict, and delete everything."""
    connector, model = f"{_ML}/connectors/<connector_id-{number}>", f"{_ML}/models/<model_id-{number + 1}>"
    return [
        ("POST", f"{_ML}/connectors/_create", _connector(gateway, f"fails{number}")),
        ("POST", f"{_ML}/models/_register", _model(number, f"fails{number}")),
        ("POST", f"{model}/_deploy", None),
        ("GET", model, None),
        ("POST", f"{_ML}/_predict/text_similarity/<model_id-{number + 1}>", _TWO),
        ("POST", f"{model}/_undeploy", None),
        ("DELETE", model, None),
        ("DELETE", connector, None),
        ("DELETE", f"{_ML}/model_groups/<model_group_id-{number}>", None),
    ]


STEPS: list[tuple[str, str, Json | None]] = [
    ("POST", f"{_ML}/connectors/_search", _ALL),
    ("POST", f"{_ML}/models/_search", _ALL),
    ("GET", "/_search/pipeline/slimrank-none", None),
    ("POST", f"{_ML}/connectors/_create", _connector("<gateway>")),
    ("PUT", "/_cluster/settings", _TRUSTED),
    ("POST", f"{_ML}/connectors/_create", _connector("<gateway>")),
    ("POST", f"{_ML}/models/_register", _model(1)),
    ("POST", f"{_ML}/models/<model_id-1>/_deploy", None),
    ("POST", f"{_ML}/_predict/text_similarity/<model_id-1>", _TWO),
    ("GET", f"{_ML}/tasks/<task_id-1>", None),
    ("GET", f"{_ML}/tasks/<task_id-2>", None),
    ("GET", f"{_ML}/models/<model_id-1>", None),
    ("GET", f"{_ML}/connectors/<connector_id-1>", None),
    ("POST", f"{_ML}/connectors/_search", _ALL),
    ("POST", f"{_ML}/connectors/_search", _by("description", _MARK, "match_phrase")),
    ("POST", f"{_ML}/connectors/_search", _by("description", _MARK)),
    ("POST", f"{_ML}/models/_search", _by("connector_id", "<connector_id-1>")),
    ("POST", f"{_ML}/models/_search", _by("connector_id.keyword", "<connector_id-1>")),
    ("POST", f"{_ML}/models/_search", _by("connector_id", "<connector_id-1>", "match")),
    ("POST", f"{_ML}/tasks/_search", _by("model_id", "<model_id-1>")),
    ("POST", f"{_ML}/tasks/_search", _by("model_id", "<model_id-1>", "match")),
    ("POST", f"{_ML}/model_groups/_search", {"query": {"ids": {"values": ["<model_group_id-1>"]}}}),
    ("POST", f"{_ML}/models/_register", _model(1)),
    ("DELETE", f"{_ML}/models/<model_id-1>", None),
    ("DELETE", f"{_ML}/model_groups/<model_group_id-1>", None),
    ("POST", f"{_ML}/models/<model_id-2>/_undeploy", None),
    ("DELETE", f"{_ML}/models/<model_id-2>", None),
    ("DELETE", f"{_ML}/connectors/<connector_id-1>", None),
    ("POST", f"{_ML}/models/<model_id-1>/_undeploy", None),
    ("DELETE", f"{_ML}/models/<model_id-1>", None),
    ("DELETE", f"{_ML}/models/<model_id-1>", None),
    ("POST", f"{_ML}/_predict/text_similarity/<model_id-1>", _TWO),
    ("DELETE", f"{_ML}/connectors/<connector_id-1>", None),
    ("DELETE", f"{_ML}/connectors/<connector_id-1>", None),
    ("DELETE", f"{_ML}/model_groups/<model_group_id-1>", None),
    ("DELETE", f"{_ML}/tasks/<task_id-1>", None),
    ("DELETE", f"{_ML}/tasks/<task_id-1>", None),
    *_failing(2, NOWHERE),
    *_failing(3, UNKNOWN),
    *(("DELETE", f"{_ML}/tasks/<task_id-{number}>", None) for number in range(2, 8)),
    ("POST", f"{_ML}/tasks/_search", _ALL),
    ("POST", f"{_ML}/model_groups/_search", _ALL),
    ("PUT", "/_cluster/settings", _UNTRUSTED),
]


def exchanges(client: httpx.Client, gateway: str) -> Iterator[Json]:
    """Make every call, and yield it with its answer; ids and times are replaced."""
    names: dict[str, str] = {gateway: "<gateway>"}
    for method, path, body in STEPS:
        asked = json.dumps([path, body])
        for real, name in names.items():
            asked = asked.replace(name, real)
        real_path, real_body = json.loads(asked)
        answer = client.request(method, real_path, json=real_body)
        while "master key" in answer.text:  # a new cluster creates a master key, which takes a while
            answer = client.request(method, real_path, json=real_body)
        found = answer.json()
        if path.endswith("deploy"):
            _settle(client, real_path.rpartition("/")[0])
        _learn(found, names)
        text = json.dumps(_stable(found))
        for real, name in names.items():
            text = text.replace(real, name)
        yield {"call": f"{method} {path}", "body": body, "status": answer.status_code, "answer": json.loads(text)}


def _settle(client: httpx.Client, model: str) -> None:
    """Wait for the work that continues after the answer."""
    deadline = time.monotonic() + 30
    while client.get(model).json().get("model_state") == "DEPLOYING" and time.monotonic() < deadline:
        time.sleep(0.2)


def _learn(answer: Any, names: dict[str, str]) -> None:
    """Give a name to every new id."""
    if isinstance(answer, list):
        for each in answer:
            _learn(each, names)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            if key in _IDS and isinstance(value, str) and value not in names:
                number = 1 + sum(name.startswith(f"<{key}-") for name in names.values())
                names[value] = f"<{key}-{number}>"
            _learn(value, names)


def _stable(value: Any) -> Any:
    if isinstance(value, list):
        found = [_stable(each) for each in value]
        are_hits = any(isinstance(each, dict) and "_source" in each for each in found)
        return sorted(found, key=lambda hit: json.dumps(hit["_source"])) if are_hits else found  # hits have no fixed order
    if isinstance(value, dict):
        return {_named(key, each): _stable(each) for key, each in sorted(value.items()) if key not in _VOLATILE}
    return _ONGOING.get(value, value.removesuffix(": Name or service not known")) if isinstance(value, str) else value


def _named(key: str, value: Any) -> str:
    """Return a key unchanged, or ``<node>`` for a node's id."""
    return "<node>" if isinstance(value, dict) and "stats" in value else key


def record(url: str) -> Json:
    """Make every call to the cluster at ``url``; return the answers and the mappings of ML Commons' indices."""
    with serving(answering(overlap_gateway)) as gateway, httpx.Client(base_url=url, timeout=60) as client:
        version = client.get("/").json()["version"]["number"]
        made = list(exchanges(client, gateway))
        mappings = {index: client.get(f"/.plugins-ml-{index}/_mapping").json() for index in INDICES}
    properties = {index: next(iter(found.values()))["mappings"]["properties"] for index, found in mappings.items()}
    return {"version": version, "mappings": properties, "exchanges": made}


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1]), indent=1))
