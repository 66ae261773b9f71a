"""Make a model behind a connector in ML Commons, and take both away with all that they brought along.

Registering a model makes a model group, and it and each deployment leave a task: these go with the model.
"""

import time
from typing import Any

from connector import bodies
from connector.cluster import Cluster, Refusal
from connector.installation import Installation, is_ours, models_of, search
from connector.record import MARK, Record
from slimrank.errors import EngineRefused, EngineUnavailable

Json = dict[str, Any]

_TASK_SECONDS = 60.0
_GONE_SECONDS = 10.0
_KEY_SECONDS = 20.0
_API = "/_plugins/_ml"


def make(cluster: Cluster, connector: Json, *, model_name: str) -> Installation:
    """Make a connector and a deployed model; on an error take back what was made, and pass the error on.

    Args:
        connector: the body of the connector.

    Raises:
        EngineRefused: ML Commons refused a call, or could not deploy the model.
        EngineUnavailable: it did not deploy in a minute.
    """
    connector_id = _create(cluster, connector)
    made = Installation(connector_id, connector["actions"][0]["url"], Record())
    try:
        registration = bodies.model(model_name, connector_id, description=MARK)
        model_id = _await_task(cluster, cluster.write("POST", f"{_API}/models/_register", registration))["model_id"]
        made.models[model_id] = model_name
        deploy(cluster, model_id)
    except Exception:
        delete(cluster, made)
        raise
    return made


def _create(cluster: Cluster, connector: Json) -> str:
    """Create a connector; a new cluster makes the key that it keeps credentials by at the first one, which may take too long."""
    deadline = time.monotonic() + _KEY_SECONDS
    while True:
        try:
            return str(cluster.write("POST", f"{_API}/connectors/_create", connector)["connector_id"])
        except Refusal as refusal:
            if "master key" not in refusal.reason or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def deploy(cluster: Cluster, model_id: str) -> None:
    """Deploy a model and wait for it: its task is said to be over a little before, and a call in between deploys it again."""
    path, deadline = f"{_API}/models/{model_id}", time.monotonic() + _TASK_SECONDS
    _await_task(cluster, cluster.write("POST", f"{path}/_deploy"))
    while not cluster.dry_run and cluster.read(path).get("model_state") == "DEPLOYING":
        if time.monotonic() > deadline:
            raise EngineUnavailable(f"OpenSearch did not deploy the model in {_TASK_SECONDS:.0f} s; look at its log")
        time.sleep(0.2)


def _await_task(cluster: Cluster, answer: Json) -> Json:
    """Wait until an ML Commons task ends, if its answer does not say so at once."""
    deadline = time.monotonic() + _TASK_SECONDS
    while "model_id" not in answer and answer.get("status", answer.get("state")) != "COMPLETED":
        state = answer.get("state", answer.get("status"))
        if state in {"FAILED", "CANCELLED", "COMPLETED_WITH_ERROR"}:
            raise EngineRefused(f"OpenSearch could not deploy the model: {answer.get('error', state)}")
        if time.monotonic() > deadline:
            raise EngineUnavailable(
                f"OpenSearch did not deploy the model in {_TASK_SECONDS:.0f} s (state {state}); look at its log"
            )
        time.sleep(0.2)
        answer = {"task_id": answer["task_id"], **cluster.read(f"{_API}/tasks/{answer['task_id']}")}
    return answer


def delete(cluster: Cluster, installation: Installation) -> None:
    """Delete a connector with its models, their groups and their tasks; what is gone already is no error."""
    models = models_of(cluster, installation.connector_id)
    for model in models:
        cluster.write("POST", f"{_API}/models/{model['_id']}/_undeploy")
        _delete_when_free(cluster, f"{_API}/models/{model['_id']}")
    _delete_when_free(cluster, f"{_API}/connectors/{installation.connector_id}")
    for group in sorted({model["_source"].get("model_group_id", "") for model in models} - {""}):
        _delete_group(cluster, group)
    for model in models:
        for task in search(cluster, "tasks", {"match": {"model_id": model["_id"]}}):
            if task["_source"].get("model_id") == model["_id"]:
                _delete_when_free(cluster, f"{_API}/tasks/{task['_id']}")


def _delete_group(cluster: Cluster, group: str) -> None:
    """Delete a model group of ours; one that holds others' models stays."""
    if not any(is_ours(hit["_source"]) for hit in search(cluster, "model_groups", {"ids": {"values": [group]}})):
        return
    try:
        _delete_when_free(cluster, f"{_API}/model_groups/{group}", seconds=0)
    except Refusal as refusal:
        if refusal.status != 409:
            raise


def _delete_when_free(cluster: Cluster, path: str, *, seconds: float = _GONE_SECONDS) -> None:
    """Delete, trying again for some seconds: undeploying ends a little after its answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            cluster.write("DELETE", path)
            return
        except Refusal as refusal:
            if refusal.status == 404:
                return
            if refusal.status not in {400, 409} or time.monotonic() > deadline:
                raise
        time.sleep(0.5)
