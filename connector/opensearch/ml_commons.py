"""Create a connector and a model in ML Commons, and delete both with everything that belongs to them.

Registering a model creates a model group and a task, and each deployment creates a task. They are deleted with the model.
"""

import time

from connector.cluster import Cluster, Refusal
from connector.opensearch import bodies
from connector.opensearch.installation import Installation, is_ours, models_of, search
from connector.opensearch.record import MARK, Record
from slimrank.errors import EngineRefused, EngineUnavailable
from slimrank.types import Json

_TASK_SECONDS = 60.0
_GONE_SECONDS = 10.0
_KEY_SECONDS = 20.0
_API = "/_plugins/_ml"


def make(cluster: Cluster, connector: Json, *, model_name: str) -> Installation:
    """Create a connector and a deployed model. On an error, delete what was created and raise the error.

    Args:
        connector: The body of the connector.

    Raises:
        EngineRefused: ML Commons refused a call, or could not deploy the model.
        EngineUnavailable: the model was not deployed within a minute.
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
    """Create a connector. For its first connector a new cluster creates an encryption key, which may take too long."""
    deadline = time.monotonic() + _KEY_SECONDS
    while True:
        try:
            return str(cluster.write("POST", f"{_API}/connectors/_create", connector)["connector_id"])
        except Refusal as refusal:
            if "master key" not in refusal.reason or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def deploy(cluster: Cluster, model_id: str) -> None:
    """Deploy a model and wait until it is ready. Its task ends earlier, and a call before it is ready would deploy it again."""
    path, deadline = f"{_API}/models/{model_id}", time.monotonic() + _TASK_SECONDS
    _await_task(cluster, cluster.write("POST", f"{path}/_deploy"))
    while not cluster.dry_run and cluster.read(path).get("model_state") == "DEPLOYING":
        if time.monotonic() > deadline:
            raise EngineUnavailable(f"OpenSearch did not deploy the model in {_TASK_SECONDS:.0f} s; read its log")
        time.sleep(0.2)


def _await_task(cluster: Cluster, answer: Json) -> Json:
    """Wait until an ML Commons task ends, unless the first answer says that it has ended."""
    deadline = time.monotonic() + _TASK_SECONDS
    while "model_id" not in answer and answer.get("status", answer.get("state")) != "COMPLETED":
        state = answer.get("state", answer.get("status"))
        if state in {"FAILED", "CANCELLED", "COMPLETED_WITH_ERROR"}:
            raise EngineRefused(f"OpenSearch could not deploy the model: {answer.get('error', state)}")
        if time.monotonic() > deadline:
            raise EngineUnavailable(f"OpenSearch did not deploy the model in {_TASK_SECONDS:.0f} s (state {state}); read its log")
        time.sleep(0.2)
        answer = {"task_id": answer["task_id"], **cluster.read(f"{_API}/tasks/{answer['task_id']}")}
    return answer


def delete(cluster: Cluster, installation: Installation) -> None:
    """Delete a connector with its models, their groups and their tasks; objects that are already deleted are no error."""
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
    """Delete our model group, unless it holds models of others."""
    if not any(is_ours(hit["_source"]) for hit in search(cluster, "model_groups", {"ids": {"values": [group]}})):
        return
    try:
        _delete_when_free(cluster, f"{_API}/model_groups/{group}", seconds=0)
    except Refusal as refusal:
        if refusal.status != 409:
            raise


def _delete_when_free(cluster: Cluster, path: str, *, seconds: float = _GONE_SECONDS) -> None:
    """Delete, and try again for some seconds: undeploying ends a little after its answer."""
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
