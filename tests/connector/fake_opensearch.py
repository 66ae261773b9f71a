"""An OpenSearch in memory, with the parts of ML Commons and of search pipelines that the connector uses.

It has the refusals, the traps and the error messages that were seen on OpenSearch 3.5.0. This module is the cluster: its routes,
settings and roles.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from slimrank.types import Json
from tests.connector.fake_gateway import Refused
from tests.connector.fake_searches import FakeSearches

_DEFAULT_TRUSTED = ["^https://runtime\\.sagemaker\\..*[a-z0-9-]\\.amazonaws\\.com/.*$", "^https://api\\.cohere\\.ai/.*$"]
_ML = "plugins.ml_commons."


@dataclass
class FakeOpenSearch(FakeSearches):
    password: str = ""
    settings: dict[str, Json] = field(default_factory=lambda: {"persistent": {}, "transient": {}})
    roles: dict[str, Json] | None = None  # None means that there is no security plugin
    log: list[tuple[str, str]] = field(default_factory=list)

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
            deeper = {"caused_by": {"type": refused.cause, "reason": refused.reason}} if refused.cause else {}
            body = {"error": {"root_cause": [cause], **cause, **deeper}, "status": refused.status}
            return httpx.Response(refused.status, json=body if refused.reason else {})

    def _route(self, method: str, path: str, params: Any, text: str) -> Any:
        routes: list[tuple[str, str, Any]] = [
            ("GET", "/", self._root),
            ("GET", "/_nodes/plugins,search_pipelines", self._nodes),
            ("GET", "/_cluster/settings", self._get_settings),
            ("PUT", "/_cluster/settings", self._put_settings),
            ("POST", r"/_plugins/_ml/(connectors|models|model_groups|tasks)/_search", self._find),
            ("POST", "/_plugins/_ml/connectors/_create", self._create_connector),
            ("DELETE", r"/_plugins/_ml/connectors/([\w-]+)", self._delete_connector),
            ("GET", r"/_plugins/_ml/connectors/([\w-]+)", self._get_connector),
            ("POST", "/_plugins/_ml/models/_register", self._register),
            ("POST", r"/_plugins/_ml/models/([\w-]+)/_deploy", self._deploy),
            ("POST", r"/_plugins/_ml/models/([\w-]+)/_undeploy", self._undeploy),
            ("DELETE", r"/_plugins/_ml/models/([\w-]+)", self._delete_model),
            ("GET", r"/_plugins/_ml/models/([\w-]+)", self._get_model),
            ("DELETE", r"/_plugins/_ml/model_groups/([\w-]+)", self._delete_group),
            ("DELETE", r"/_plugins/_ml/tasks/([\w-]+)", self._delete_task),
            ("GET", r"/_plugins/_ml/tasks/([\w-]+)", self._get_task),
            ("POST", r"/_plugins/_ml/_predict/text_similarity/([\w-]+)", self._predict),
            ("POST", r"/_plugins/_ml/models/([\w-]+)/_predict", self._predict_as_is),
            ("GET", "/_search/pipeline", lambda body: self.pipelines),
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

    # -- the cluster -----------------------------------------------------------------------------------------------

    def _root(self, body: Json) -> Json:
        return {"version": {"number": self.version, "distribution": "opensearch"}}

    def _nodes(self, body: Json) -> Json:
        requests, responses = ["filter_query"], ["rename_field"]
        if self.has_ml:
            responses += ["rerank", "ml_inference"]
        if self.has_oversample:
            requests += ["oversample", "script"]
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
        set_now = {name: value for changes in body.values() for name, value in changes.items() if value is not None}
        return {
            "acknowledged": True,
            "persistent": _nested({name: self.setting(name[len(_ML) :]) for name in set_now}),
            "transient": {},
        }

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


def _nested(flat: Json) -> Json:
    """Return settings as nested objects, like OpenSearch's answer to a change of settings."""
    nested: Json = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return nested
