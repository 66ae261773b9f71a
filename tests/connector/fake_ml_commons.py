"""ML Commons in memory: connectors, models, and a predict call by its rules.

It renders the connector's request body, hands it to `gateway`, and reads the answer as the Cohere functions do.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from connector import scripts
from tests.connector.fake_gateway import Gateway, Json, Refused, overlap_gateway


@dataclass
class FakeMlCommons:
    version: str = "3.5.0"
    gateway: Gateway = overlap_gateway
    deploys_slowly: bool = False
    connectors: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)
    made: int = 0

    def setting(self, name: str) -> Any:
        """Return a setting of the cluster."""
        raise NotImplementedError

    def _find(self, things: dict[str, Json], body: Json) -> Json:
        wanted = body["query"].get("term", {})
        hits = [
            {"_id": id, "_source": {key: value for key, value in thing.items() if key != "credential"}}
            for id, thing in things.items()
            if all(thing.get(key) == value for key, value in wanted.items())
        ]
        return {"hits": {"total": {"value": len(hits)}, "hits": hits}}

    def _next_id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    def _create_connector(self, body: Json) -> Json:
        url = body["actions"][0]["url"]
        for name in ("name", "description"):
            if not re.fullmatch(r"[\w\s.,!?():@\-/'\"]*", body[name]):
                raise Refused(400, f"Model connector {name} can only contain letters, numbers, spaces, and basic punctuation")
        if not any(re.fullmatch(pattern, url) for pattern in self.setting("trusted_connector_endpoints_regex")):
            raise Refused(400, f"Connector URL is not matching the trusted connector endpoint regex, URL is: {url}")
        id = self._next_id("connector")
        self.connectors[id] = body
        return {"connector_id": id}

    def _delete_connector(self, id: str, body: Json) -> Json:
        if any(model["connector_id"] == id for model in self.models.values()):
            raise Refused(409, "1 models are still using this connector, please delete or update the models first")
        if self.connectors.pop(id, None) is None:
            raise Refused(404, "Failed to find connector")
        return {"result": "deleted"}

    def _register(self, body: Json) -> Json:
        if any(model["name"] == body["name"] for model in self.models.values()):
            raise Refused(400, "The name you provided is already being used by another model")
        id = self._next_id("model")
        # private addresses are looked at when the model is made
        self.models[id] = {
            **body,
            "model_state": "REGISTERED",
            "private_ok": self.setting("connector.private_ip_enabled") == "true",
        }
        return {"task_id": self._next_id("task"), "status": "CREATED", "model_id": id}

    def _deploy(self, id: str, body: Json) -> Json:
        self.models[id]["model_state"] = "DEPLOYED"
        status = "CREATED" if self.deploys_slowly else "COMPLETED"
        return {"task_id": self._next_id("task"), "task_type": "DEPLOY_MODEL", "status": status}

    def _task(self, id: str, body: Json) -> Json:
        return {"task_type": "DEPLOY_MODEL", "state": "COMPLETED"}

    def _undeploy(self, id: str, body: Json) -> Json:
        if id in self.models:
            self.models[id]["model_state"] = "UNDEPLOYED"
        return {"n1": {"stats": {id: "undeployed"}}}

    def _delete_model(self, id: str, body: Json) -> Json:
        if self.models.get(id, {}).get("model_state") == "DEPLOYED":
            raise Refused(400, "Model cannot be deleted in deploying or deployed state. Try undeploy model first then delete")
        if self.models.pop(id, None) is None:
            raise Refused(404, "Failed to find model")
        return {"result": "deleted"}

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
            raise Refused(404, f"Failed to find model: {id}", "status_exception")
        if not documents:
            raise Refused(400, "No text documents were provided")
        connector = self.connectors[self.models[id]["connector_id"]]
        action = connector["actions"][0]
        if "://127." in action["url"] and not self.models[id]["private_ok"]:
            raise Refused(400, "Remote inference host name has private ip address: 127.0.0.1")
        if script := action.get("pre_process_function", ""):
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
            raise Refused(500, f"Error communicating with remote model: {error}", "status_exception") from error
        except TimeoutError as error:
            raise Refused(500, "Error communicating with remote model: Read timed out", "status_exception") from error
        if status >= 400:
            raise Refused(status, f"Error from remote service: {text}", "status_exception")
        return text

    def _read_scores(self, text: str, expected: int) -> list[float]:
        """Read as the Cohere post-processing function does."""
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
    """Return what our script writes; what it did on a node is held by the tests of ML Commons' own classes."""
    found = re.search(r"append\(', (.*)\}'\);", script)
    assert found, "this stand-in knows our scripts only"
    options = json.loads("{" + found[1].replace("\\'", "'").replace("\\\\", "\\") + "}")
    assert script in [scripts.request_script(options, by_field=by_field) for by_field in (False, True)]
    return json.dumps({"query": query, "documents": documents, **options})
