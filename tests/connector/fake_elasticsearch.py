"""An Elasticsearch in memory, with licences, ``custom`` inference endpoints and the reranking retriever.

It answers as described in Elastic's specification and sources: it checks the licence, calls a new endpoint once, hides secrets,
adds defaults to the shown settings, and maps scores like the retriever.
"""

import json
import math
import re
from dataclasses import dataclass, field

import httpx

from slimrank.types import Json
from tests.connector.fake_gateway import Gateway, Refused, overlap_gateway


@dataclass
class FakeElasticsearch:
    version: str = "9.1.2"
    licence: str = "trial"
    gateway: Gateway = overlap_gateway
    wants_request_object: bool = False
    has_custom: bool = True
    shards: int = 1
    endpoints: dict[str, Json] = field(default_factory=dict)
    documents: dict[str, Json] = field(default_factory=dict)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer), base_url="http://cluster:9200")

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        try:
            return httpx.Response(200, json=self._route(request.method, request.url.path, body))
        except Refused as refused:
            cause = {"type": refused.kind, "reason": refused.reason}
            return httpx.Response(refused.status, json={"error": {"root_cause": [cause], **cause}, "status": refused.status})

    def _route(self, method: str, path: str, body: Json) -> Json:
        match method, path.strip("/").split("/"):
            case "GET", [""]:
                return {"version": {"number": self.version, "build_flavor": "default"}, "tagline": "You Know, for Search"}
            case "GET", ["_nodes", "plugins"]:
                return {"nodes": {"n1": {"plugins": [], "modules": []}}}
            case "GET", ["_license"] if self.licence:
                return {"license": {"status": "active", "type": self.licence}}
            case "GET", [_, "_settings", "index.number_of_shards"] if self.shards:
                return {"shop": {"settings": {"index.number_of_shards": str(self.shards)}}}
            case verb, ["_inference", "rerank", name]:
                self._require_licence()
                return self._endpoint(verb, name, body)
            case "POST", [_, "_search"]:
                return self._search(body)
        raise Refused(400, f"no handler found for uri [{path}] and method [{method}]")

    def _require_licence(self) -> None:
        if self.licence not in {"trial", "enterprise"}:
            raise Refused(403, "current license is non-compliant for [inference]", "security_exception")

    def _endpoint(self, method: str, name: str, body: Json) -> Json:
        if method == "PUT":
            return self._put_endpoint(name, body)
        if name not in self.endpoints:
            raise Refused(404, f"Inference endpoint not found [{name}]", "resource_not_found_exception")
        if method == "DELETE":
            del self.endpoints[name]
            return {"acknowledged": True}
        if method == "GET":
            secrets = ("secret_parameters", "api_key")
            settings = {key: value for key, value in self.endpoints[name]["service_settings"].items() if key not in secrets}
            shown = {**settings, "rate_limit": {"requests_per_minute": 10000}}
            return {
                "endpoints": [
                    {
                        "inference_id": name,
                        "task_type": "rerank",
                        "service": self.endpoints[name]["service"],
                        "service_settings": shown,
                    }
                ]
            }
        return {"rerank": self._rerank(name, body["query"], body["input"])}

    def _put_endpoint(self, name: str, body: Json) -> Json:
        if name in self.endpoints:
            raise Refused(400, f"Inference endpoint [{name}] already exists", "resource_already_exists_exception")
        if body["service"] == "custom" and not self.has_custom:
            raise Refused(400, "Unknown service [custom]", "status_exception")
        is_object = isinstance(body["service_settings"].get("request"), dict)
        if body["service"] == "custom" and is_object is not self.wants_request_object:
            raise Refused(400, "field [request] is not of the expected type", "status_exception")
        self.endpoints[name] = body
        try:
            self._rerank(name, "test", ["how big"])  # Elasticsearch calls a new endpoint once
        except Refused as refused:
            del self.endpoints[name]
            raise Refused(400, "Could not complete inference endpoint creation as validation call failed") from refused
        return {"inference_id": name}

    def _rerank(self, name: str, query: str, documents: list[str]) -> list[Json]:
        settings = self.endpoints[name]["service_settings"]
        if self.endpoints[name]["service"] == "hugging_face":
            return self._rerank_as_hugging_face(query, documents)
        template = settings["request"]["content"] if isinstance(settings["request"], dict) else settings["request"]
        values = {"input": json.dumps(documents), "query": json.dumps(query)}
        payload = json.loads(re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], template))
        status, text = self.gateway(payload)
        if status >= 400:
            raise Refused(status, f"Received an unsuccessful status code for request: {text}", "status_exception")
        results = json.loads(text)["results"]
        return [{"index": result["index"], "relevance_score": result["relevance_score"]} for result in results]

    def _rerank_as_hugging_face(self, query: str, documents: list[str]) -> list[Json]:
        """Send and read the format of Text Embeddings Inference."""
        status, text = self.gateway({"texts": documents, "query": query})
        if status >= 400:
            raise Refused(status, f"Received an unsuccessful status code for request: {text}", "status_exception")
        return [{"index": result["index"], "relevance_score": result["score"]} for result in json.loads(text)]

    def _search(self, body: Json) -> Json:
        options = body["retriever"]["text_similarity_reranker"]
        self._require_licence()
        ((field_name, query),) = options["retriever"]["standard"]["query"]["match"].items()
        words = set(query.lower().split())
        hits = [
            {"_id": identifier, "_score": 1.0, "_source": source}
            for identifier, source in self.documents.items()
            if words & set(source[field_name].lower().split())
        ][: options["rank_window_size"]]
        texts = [hit["_source"][options["field"]] for hit in hits]
        try:
            ranked = self._rerank(options["inference_id"], options["inference_text"], texts) if hits else []
        except Refused:
            if not options.get("allow_rerank_failures"):
                raise
            return {"hits": {"hits": hits[: body["size"]]}}
        for entry in ranked:
            score = entry["relevance_score"]
            hits[entry["index"]]["_score"] = max(score, 0) + min(math.exp(score), 1)
        return {"hits": {"hits": sorted(hits, key=lambda hit: -hit["_score"])[: body["size"]]}}
