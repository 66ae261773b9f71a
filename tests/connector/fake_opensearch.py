"""An OpenSearch in memory, with ML Commons and search pipelines as far as the connector uses them.

It answers as OpenSearch 3.5.0 was seen to: the refusals, the traps and the words of its errors. It renders the
connector's request body and hands it to `gateway`, and reads the answer by ML Commons' rules.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import httpx

Json = dict[str, Any]
Gateway = Callable[[Json], tuple[int, str]]

_DEFAULT_TRUSTED = ["^https://runtime\\.sagemaker\\..*[a-z0-9-]\\.amazonaws\\.com/.*$", "^https://api\\.cohere\\.ai/.*$"]
_ML = "plugins.ml_commons."


def overlap_gateway(payload: Json) -> tuple[int, str]:
    """Answer as slimrank's gateway does, best first; the score counts the words shared with the query."""
    words = set(payload["query"].lower().split())
    scores = [float(len(words & set(document.lower().split()))) for document in payload["documents"]]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    return 200, json.dumps({"results": results, "scores": scores})


class Refused(Exception):
    def __init__(self, status: int, reason: str, kind: str = "illegal_argument_exception") -> None:
        super().__init__(reason)
        self.status, self.reason, self.kind = status, reason, kind


@dataclass
class FakeOpenSearch:
    version: str = "3.5.0"
    has_ml: bool = True
    has_oversample: bool = True
    gateway: Gateway = overlap_gateway
    password: str = ""
    deploys_slowly: bool = False
    settings: dict[str, Json] = field(default_factory=lambda: {"persistent": {}, "transient": {}})
    connectors: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)
    pipelines: dict[str, Json] = field(default_factory=dict)
    indices: dict[str, Json] = field(default_factory=dict)
    roles: dict[str, Json] | None = None  # None: no security plugin
    log: list[tuple[str, str]] = field(default_factory=list)
    made: int = 0

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer), base_url="http://cluster:9200")

    def answer(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        self.log.append((method, path))
        if self.password and request.headers.get("authorization") != httpx.BasicAuth("admin", self.password)._auth_header:
            return httpx.Response(401, text="Unauthorized")
        try:
            text = request.content.decode()
            return httpx.Response(200, json=self._route(method, path, request.url.params, text))
        except Refused as refused:
            cause = {"type": refused.kind, "reason": refused.reason}
            body = {"error": {"root_cause": [cause], **cause}, "status": refused.status}
            return httpx.Response(refused.status, json=body)

    def _route(self, method: str, path: str, params: Any, text: str) -> Any:
        routes: list[tuple[str, str, Any]] = [
            ("GET", "/", self._root),
            ("GET", "/_nodes/plugins,search_pipelines", self._nodes),
            ("GET", "/_cluster/settings", self._get_settings),
            ("PUT", "/_cluster/settings", self._put_settings),
            ("POST", "/_plugins/_ml/connectors/_create", self._create_connector),
            ("POST", "/_plugins/_ml/connectors/_search", lambda body: self._find(self.connectors, body)),
            ("DELETE", r"/_plugins/_ml/connectors/(\w+)", self._delete_connector),
            ("GET", r"/_plugins/_ml/connectors/(\w+)", lambda id, body: self.connectors[id]),
            ("POST", "/_plugins/_ml/models/_search", lambda body: self._find(self.models, body)),
            ("POST", "/_plugins/_ml/models/_register", self._register),
            ("POST", r"/_plugins/_ml/models/(\w+)/_deploy", self._deploy),
            ("POST", r"/_plugins/_ml/models/(\w+)/_undeploy", self._undeploy),
            ("DELETE", r"/_plugins/_ml/models/(\w+)", self._delete_model),
            ("GET", r"/_plugins/_ml/models/(\w+)", lambda id, body: self.models[id]),
            ("GET", r"/_plugins/_ml/tasks/(\w+)", self._task),
            ("POST", r"/_plugins/_ml/_predict/text_similarity/(\w+)", self._predict),
            ("POST", r"/_plugins/_ml/models/(\w+)/_predict", self._predict_as_is),
            ("GET", r"/_search/pipeline/([\w-]+)", self._get_pipeline),
            ("PUT", r"/_search/pipeline/([\w-]+)", self._put_pipeline),
            ("DELETE", r"/_search/pipeline/([\w-]+)", lambda id, body: self.pipelines.pop(id) and {"acknowledged": True}),
            ("PUT", r"/_plugins/_security/api/roles/(\w+)", self._put_role),
            ("DELETE", r"/_plugins/_security/api/roles/(\w+)", self._delete_role),
            ("GET", r"/([^/]+)/_settings/([\w.*]+)", self._index_settings),
            ("GET", r"/([^/_]+)/_mapping", lambda id, body: {id: {"mappings": self._index(id).get("mappings", {})}}),
            ("PUT", r"/([\w-]+)/_doc/(\w+)", self._put_document),
            ("PUT", r"/([^/_][^/]*)", self._create_index),
            ("DELETE", r"/([^/_][^/]*)", lambda id, body: self.indices.pop(id) and {"acknowledged": True}),
            ("POST", r"/([^/_][^/]*)/_search", lambda id, body: self._search(id, body, params.get("search_pipeline"))),
        ]
        for verb, pattern, handler in routes:
            if verb == method and (found := re.fullmatch(pattern, path)):
                return handler(*found.groups(), json.loads(text) if text else {})
        raise Refused(400, f"no handler found for uri [{path}] and method [{method}]")

    # -- what the cluster is ---------------------------------------------------------------------------------------

    def _root(self, body: Json) -> Json:
        return {"version": {"number": self.version, "distribution": "opensearch"}}

    def _nodes(self, body: Json) -> Json:
        requests, responses = ["filter_query"], ["rename_field"]
        if self.has_ml:
            responses += ["rerank", "ml_inference"]
        if self.has_oversample:
            requests.append("oversample")
            responses.append("truncate_hits")
        pipelines = {
            "request_processors": [{"type": name} for name in requests],
            "response_processors": [{"type": name} for name in responses],
        }
        plugins = [{"name": name} for name in ("opensearch-ml", "opensearch-neural-search") if self.has_ml]
        return {"nodes": {"n1": {"plugins": plugins, "search_pipelines": pipelines}}}

    @property
    def _known_settings(self) -> dict[str, Any]:
        known: dict[str, Any] = {}
        major, minor, *_ = map(int, self.version.split("."))
        if self.has_ml:
            known[_ML + "trusted_connector_endpoints_regex"] = _DEFAULT_TRUSTED
            if (major, minor) >= (2, 15):
                known[_ML + "connector.private_ip_enabled"] = "false"
            if (major, minor) >= (3, 7):
                known[_ML + "trusted_connector_private_endpoints_regex"] = []
        return known

    def _get_settings(self, body: Json) -> Json:
        explicit = {name for scope in self.settings.values() for name in scope}
        return {
            **self.settings,
            "defaults": {name: value for name, value in self._known_settings.items() if name not in explicit},
        }

    def setting(self, name: str) -> Any:
        answer = self._get_settings({})
        return next(
            (answer[scope][_ML + name] for scope in ("transient", "persistent", "defaults") if _ML + name in answer[scope]), None
        )

    def _put_settings(self, body: Json) -> Json:
        for scope, changes in body.items():
            for name in changes:
                if name not in self._known_settings:
                    raise Refused(400, f"{scope} setting [{name}], not recognized", "settings_exception")
            for name, value in changes.items():
                if value is None:
                    self.settings[scope].pop(name, None)
                else:
                    self.settings[scope][name] = str(value).lower() if isinstance(value, bool) else value
        return {"acknowledged": True}

    # -- ML Commons ------------------------------------------------------------------------------------------------

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
        parameters = {
            "documents": json.dumps(documents),
            "query": json.dumps(query)[1:-1],
            "top_n": str(len(documents)),
            **connector["parameters"],
        }
        if re.fullmatch(r"\[.*\]|\{.*\}", query):
            raise Refused(400, "Invalid payload")
        payload = re.sub(r"\$\{parameters\.(\w+)\}", lambda found: parameters[found[1]], action["request_body"])
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

    # -- security --------------------------------------------------------------------------------------------------

    def _put_role(self, name: str, body: Json) -> Json:
        if self.roles is None:
            raise Refused(400, f"no handler found for uri [/_plugins/_security/api/roles/{name}] and method [PUT]")
        self.roles[name] = body
        return {"status": "CREATED"}

    def _delete_role(self, name: str, body: Json) -> Json:
        if self.roles is None or self.roles.pop(name, None) is None:
            raise Refused(404, f"role '{name}' not found.")
        return {"status": "OK"}

    # -- indices and searches --------------------------------------------------------------------------------------

    def _index(self, name: str) -> Json:
        if name not in self.indices:
            raise Refused(404, f"no such index [{name}]", "index_not_found_exception")
        return self.indices[name]

    def _create_index(self, name: str, body: Json) -> Json:
        self.indices[name] = {"documents": {}, "settings": body.get("settings", {}), "mappings": body.get("mappings", {})}
        return {"acknowledged": True}

    def _put_document(self, name: str, id: str, body: Json) -> Json:
        self.indices.setdefault(name, {"documents": {}, "settings": {}, "mappings": {}})["documents"][id] = body
        return {"result": "created"}

    def _index_settings(self, name: str, setting: str, body: Json) -> Json:
        chosen = self.indices if name == "_all" else {name: self._index(name)}
        kept = {
            id: {key: value for key, value in index["settings"].items() if fnmatchcase(key, setting)}
            for id, index in chosen.items()
        }
        return {id: {"settings": settings} for id, settings in kept.items() if settings}

    def _get_pipeline(self, name: str, body: Json) -> Json:
        if name not in self.pipelines:
            raise Refused(404, f"pipeline [{name}] is missing", "resource_not_found_exception")
        return {name: self.pipelines[name]}

    def _put_pipeline(self, name: str, body: Json) -> Json:
        known = {"filter_query", "rename_field"} | ({"rerank", "ml_inference"} if self.has_ml else set())
        known |= {"oversample", "truncate_hits"} if self.has_oversample else set()
        for kind in ("request_processors", "response_processors"):
            for processor in body.get(kind, []):
                if next(iter(processor)) not in known:
                    raise Refused(400, f"Invalid processor type {next(iter(processor))}")
        self.pipelines[name] = body
        return {"acknowledged": True}

    def _search(self, name: str, body: Json, pipeline_name: str | None) -> Json:
        chosen = body.get("search_pipeline", pipeline_name) or self._index(name)["settings"].get("index.search.default_pipeline")
        pipeline = chosen if isinstance(chosen, dict) else self.pipelines.get(chosen, {}) if chosen else {}
        size = body.get("size", 10)
        processors = pipeline.get("request_processors", [])
        factor = next((p["oversample"]["sample_factor"] for p in processors if "oversample" in p), 1)
        hits = self._first_stage(name, body)[: int(size * factor)]
        for processor in pipeline.get("response_processors", []):
            if "truncate_hits" in processor:
                hits = hits[:size]
            ((kind, options),) = processor.items()
            step = {"ml_inference": self._infer, "rerank": self._sort if "by_field" in options else self._rerank}.get(kind)
            try:
                hits = step(hits, options, body) if step else hits
            except Refused:
                if not options.get("ignore_failure"):
                    raise
        return {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}

    def _first_stage(self, name: str, body: Json) -> list[Json]:
        ((kind, clause),) = body["query"].items()
        field_name, clause = next(iter(clause.items())) if kind == "match" else ("text", clause)
        words = set((clause["query"] if isinstance(clause, dict) else clause).lower().split())
        hits = []
        for id, source in self._index(name)["documents"].items():
            text = str(source.get(field_name, "")).lower().split()
            if count := len([word for word in text if word in words]):
                kept = {} if body.get("_source") is False else source
                hits.append({"_index": name, "_id": id, "_score": count / len(text), "_source": kept})
        return sorted(hits, key=lambda hit: -hit["_score"])

    def _rerank(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        if not hits and body.get("size", 10) > 0:
            return hits
        if "ext" not in body:
            raise Refused(500, 'Cannot invoke "RerankSearchExtBuilder.getParams()" because it is null', "null_pointer_exception")
        fields = processor["context"]["document_fields"]
        documents = ["".join(str(hit["_source"].get(name, "")) for name in fields) for hit in hits]
        query = body["ext"]["rerank"]["query_context"]["query_text"]
        scores = self._scores(processor["ml_opensearch"]["model_id"], query, documents)
        rescored = [{**hit, "_score": score} for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda hit: -hit["_score"])

    def _infer(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        """Call the model once with one field of all hits, and give each hit the answer's value at its own place."""
        if not hits:
            return hits
        (inputs,), ((target, path),) = processor["input_map"], processor["output_map"][0].items()
        query: Any = body
        for name in inputs["query"].removeprefix("$._request.").split("."):
            query = query.get(name) if isinstance(query, dict) else None
        if not isinstance(query, str) or any(inputs["documents"] not in hit["_source"] for hit in hits):
            raise Refused(400, "cannot find field in the hits or the request")
        answer = json.loads(self._call(processor["model_id"], query, [hit["_source"][inputs["documents"]] for hit in hits]))
        values = answer[path.removesuffix("[*]")]
        return [{**hit, "_source": {**hit["_source"], target: value}} for hit, value in zip(hits, values, strict=True)]

    def _sort(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        target = processor["by_field"]["target_field"]
        if any(target not in hit["_source"] for hit in hits):
            raise Refused(400, f"there is no field {target} in a hit")
        sorted_hits = []
        for hit in sorted(hits, key=lambda hit: -hit["_source"][target]):
            source = {key: value for key, value in hit["_source"].items() if key != target}
            sorted_hits.append({**hit, "_score": hit["_source"][target], "_source": {**source, "previous_score": hit["_score"]}})
        return sorted_hits
