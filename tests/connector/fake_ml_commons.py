"""ML Commons in memory: connectors, models, and a predict call that follows ML Commons' rules.

It renders the connector's request body, passes it to ``gateway``, and reads the answer like the Cohere functions. Tests compare
it with recorded answers of a real one (``tests.connector.exchanges``): searches follow the real mappings, and nothing listens at
port 1.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from connector.opensearch import scripts
from slimrank.types import Json
from tests.connector.fake_gateway import Gateway, Refused, overlap_gateway
from tests.connector.fake_queries import matches
from tests.connector.recordings import recorded

_STATUS = "status_exception"


@dataclass
class FakeMlCommons:
    version: str = "3.5.0"
    gateway: Gateway = overlap_gateway
    deploys_slowly: bool = False
    connectors: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)
    groups: dict[str, Json] = field(default_factory=dict)
    tasks: dict[str, Json] = field(default_factory=dict)
    private_ok: dict[str, bool] = field(default_factory=dict)
    made: int = 0

    def setting(self, name: str) -> Any:
        """Return a setting of the cluster."""
        raise NotImplementedError

    def _find(self, kind: str, body: Json) -> Json:
        things, properties = self._indices()[kind]
        hits = [{"_id": id, "_source": source} for id, source in things.items() if matches(body["query"], id, source, properties)]
        return {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}

    def _indices(self) -> dict[str, tuple[dict[str, Json], Json]]:
        """Return the documents of ML Commons' indices, as searches see them, and their mappings."""
        mappings = recorded("ml-commons-3.5")["mappings"]
        connectors = {id: self._shown(connector) for id, connector in self.connectors.items()}
        return {
            "connectors": (connectors, mappings["connector"]),
            "models": (self.models, mappings["model"]),
            "model_groups": (self.groups, mappings["model-group"]),
            "tasks": (self.tasks, mappings["task"]),
        }

    def _shown(self, connector: Json) -> Json:
        """Return a connector as the cluster shows it, without its credential."""
        actions = [{**action, "action_type": action["action_type"].upper()} for action in connector["actions"]]
        return {**{key: value for key, value in connector.items() if key != "credential"}, "actions": actions}

    def _get_connector(self, id: str, body: Json) -> Json:
        if id not in self.connectors:
            raise Refused(404, "Failed to find connector with the provided connector id: " + id, _STATUS)
        return self._shown(self.connectors[id])

    def _get_model(self, id: str, body: Json) -> Json:
        if id not in self.models:
            raise Refused(404, "Failed to find model with the provided model id: " + id, _STATUS)
        return self.models[id]

    def _next_id(self, kind: str) -> str:
        """Return an id with capitals and a hyphen, like a real id."""
        self.made += 1
        return f"{kind.capitalize()}-{self.made:03}"

    def _create_connector(self, body: Json) -> Json:
        url = body["actions"][0]["url"]
        for name in ("name", "description"):
            if not re.fullmatch(r"[\w\s.,!?():@\-/'\"]*", body[name]):
                raise Refused(400, f"Model connector {name} can only contain letters, numbers, spaces, and basic punctuation")
        if not any(re.fullmatch(pattern, url) for pattern in self.setting("trusted_connector_endpoints_regex")):
            raise Refused(400, "Connector URL is not matching the trusted connector endpoint regex")
        id = self._next_id("connector")
        self.connectors[id] = {**body, "created_time": self.made}
        return {"connector_id": id}

    def _delete_connector(self, id: str, body: Json) -> Json:
        if users := [model_id for model_id, model in self.models.items() if model["connector_id"] == id]:
            words = f"{len(users)} models are still using this connector, please delete or update the models first: [{', '.join(users)}]"
            raise Refused(409, words, _STATUS)
        return {"_id": id, "result": "not_found" if self.connectors.pop(id, None) is None else "deleted"}

    def _register(self, body: Json) -> Json:
        """Create a model in the group of its name; the group is created if it does not exist."""
        group = next((id for id, group in self.groups.items() if group["name"] == body["name"]), None)
        if group is None:
            group = self._next_id("group")
            self.groups[group] = {"name": body["name"], "description": body["description"], "access": "public"}
        elif self.version.startswith("2."):
            raise Refused(400, "The name you provided is already being used by another model")
        versions = [int(model["model_version"]) for model in self.models.values() if model["model_group_id"] == group]
        id = self._next_id("model")
        self.models[id] = {
            "name": body["name"],
            "description": body["description"],
            "algorithm": body["function_name"].upper(),
            "connector_id": body["connector_id"],
            "model_group_id": group,
            "model_version": str(max(versions, default=0) + 1),
            "model_state": "REGISTERED",
        }
        # private addresses are checked when the model is created
        self.private_ok[id] = self.setting("connector.private_ip_enabled") == "true"
        return {"task_id": self._task_of(id, "REGISTER_MODEL"), "status": "CREATED", "model_id": id}

    def _task_of(self, model_id: str, kind: str) -> str:
        id = self._next_id("task")
        self.tasks[id] = {"model_id": model_id, "task_type": kind, "function_name": "REMOTE", "state": "COMPLETED"}
        return id

    def _deploy(self, id: str, body: Json) -> Json:
        self.models[id]["model_state"] = "DEPLOYED"
        status = "CREATED" if self.deploys_slowly else "COMPLETED"
        return {"task_id": self._task_of(id, "DEPLOY_MODEL"), "task_type": "DEPLOY_MODEL", "status": status}

    def _get_task(self, id: str, body: Json) -> Json:
        if id not in self.tasks:
            raise Refused(404, "Failed to find task with the provided task id: " + id, _STATUS)
        return self.tasks[id]

    def _delete_task(self, id: str, body: Json) -> Json:
        if self.tasks.pop(id, None) is None:
            raise Refused(404, "Failed to find task", _STATUS)
        return {"_id": id, "result": "deleted"}

    def _undeploy(self, id: str, body: Json) -> Json:
        was_deployed = id in self.models and self.models[id]["model_state"] == "DEPLOYED"
        if was_deployed:
            self.models[id]["model_state"] = "UNDEPLOYED"
        return {"node-1": {"stats": {id: "undeployed" if was_deployed else "not_found"}}}

    def _delete_model(self, id: str, body: Json) -> Json:
        if self.models.get(id, {}).get("model_state") == "DEPLOYED":
            words = "Model cannot be deleted in deploying or deployed state. Try undeploy model first then delete"
            raise Refused(400, words, _STATUS)
        if self.models.pop(id, None) is None:
            raise Refused(404, "Failed to find model", _STATUS)
        return {"_id": id, "result": "deleted"}

    def _delete_group(self, id: str, body: Json) -> Json:
        if any(model["model_group_id"] == id for model in self.models.values()):
            raise Refused(409, "Cannot delete the model group when it has associated model versions", _STATUS)
        if self.groups.pop(id, None) is None:
            raise Refused(404, "Failed to find model group", _STATUS)
        return {"_id": id, "result": "deleted"}

    def _predict(self, id: str, body: Json) -> Json:
        scores = self._scores(id, body["query_text"], body["text_docs"])
        tensors = [{"name": "similarity", "data_type": "FLOAT32", "shape": [1], "data": [score]} for score in scores]
        return {"inference_results": [{"output": tensors, "status_code": 200}]}

    def _predict_as_is(self, id: str, body: Json) -> Json:
        return {
            "inference_results": [
                {"output": [{"name": "response", "dataAsMap": json.loads(self._call(id, **body["parameters"]))}]}
            ]
        }

    def _scores(self, id: str, query: str, documents: list[str]) -> list[float]:
        return self._read_scores(self._call(id, query, documents), len(documents))

    def _call(self, id: str, query: str, documents: list[str]) -> str:
        """Render the request, ask the gateway, and return the text of its answer."""
        if id not in self.models:
            raise Refused(404, "Failed to find model", _STATUS)
        if not documents:
            raise Refused(400, "No text documents were provided")
        connector = self.connectors[self.models[id]["connector_id"]]
        action = connector["actions"][0]
        host = urlsplit(action["url"])
        if str(host.hostname).endswith(".invalid"):
            raise Refused(400, str(host.hostname), "illegal_argument_exception", cause="unknown_host_exception")
        if "://127." in action["url"] and not self.private_ok[id]:
            raise Refused(400, "Remote inference host name has private ip address: 127.0.0.1")
        if host.port == 1:
            words = f"Error communicating with remote model: Connection refused: /{host.hostname}:1"
            raise Refused(500, words, _STATUS)
        script = action.get("pre_process_function", "")
        if script and not script.startswith("connector."):
            return self._ask(written(script, query, documents))
        parameters = {
            "documents": json.dumps(documents),
            "query": json.dumps(query)[1:-1],
            "top_n": str(len(documents)),
            **connector["parameters"],
        }
        if re.fullmatch(r"\[.*\]|\{.*\}", query):
            raise Refused(400, "Invalid payload")
        payload = re.sub(r"\$\{parameters\.(\w+)\}", lambda found: parameters[found[1]], action["request_body"])
        return self._ask(payload)

    def _ask(self, payload: str) -> str:
        try:
            status, text = self.gateway(json.loads(payload))
        except ConnectionError as error:
            raise Refused(500, f"Error communicating with remote model: {error}", _STATUS) from error
        except TimeoutError as error:
            raise Refused(500, "Error communicating with remote model: Read timed out", _STATUS) from error
        if status >= 400:
            raise Refused(status, f"Error from remote service: {text}", _STATUS)
        return text

    def _read_scores(self, text: str, expected: int) -> list[float]:
        """Read the scores like the Cohere post-processing function."""
        try:
            results = json.loads(text)["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(500, "Fail to execute PREDICT in aws connector", "m_l_exception") from error
        for result in results:
            if not isinstance(result["relevance_score"], float):
                raise Refused(500, "class java.lang.Integer cannot be cast to class java.lang.Double", "class_cast_exception")
        if len(results) != expected:
            raise Refused(500, "scores and hits are not the same length", "illegal_state_exception")
        scores = [0.0] * expected
        for result in results:
            scores[result["index"]] = result["relevance_score"]
        return scores


def written(script: str, query: str, documents: list[str]) -> str:
    """Return the text that our script writes; the tests with ML Commons' own classes check the script itself."""
    found = re.search(r"append\(', (.*)\}'\);", script)
    assert found, "this stand-in only knows our scripts"
    options = json.loads("{" + found[1].replace("\\'", "'").replace("\\\\", "\\") + "}")
    assert script in [scripts.request_script(options, by_field=by_field) for by_field in (False, True)]
    return json.dumps({"query": query, "documents": documents, **options})
