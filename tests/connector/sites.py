"""A cluster to install into, our stand-in or a real OpenSearch with ML Commons, and a gateway that it calls."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from connector.cluster import Cluster
from connector.facts import read_facts
from connector.opensearch.install import remove
from slimrank.types import Json
from tests.connector.fake_gateway import Gateway, answering, overlap_gateway
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving
from tests.nodes.engine import Engine

KINDS = ("connectors", "models", "model_groups", "tasks")
NAME = "slimrank-test"


@dataclass
class Site:
    """An engine at ``http``; its gateway answers with ``gateway``."""

    http: httpx.Client
    gateway_url: str
    gateway: Gateway = overlap_gateway
    indices: list[str] = field(default_factory=list)

    def ask(self, payload: Json) -> tuple[int, str]:
        return self.gateway(payload)

    def cluster(self) -> Cluster:
        return Cluster(self.http)

    def send(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = self.http.request(method, path, json=body)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    def pipeline(self, name: str = NAME) -> Json:
        found: Json = self.send("GET", f"/_search/pipeline/{name}")[name]
        return found

    def held(self, kind: str) -> list[str]:
        """Return the ids of ML Commons' objects of a kind."""
        found = self.send("POST", f"/_plugins/_ml/{kind}/_search", {"query": {"match_all": {}}, "size": 1000})
        return sorted(hit["_id"] for hit in found["hits"]["hits"])

    def state(self) -> Json:
        """Return everything that an installer could leave behind."""
        settings = self.send("GET", "/_cluster/settings?flat_settings=true")
        scopes = {scope: settings.get(scope, {}) for scope in ("persistent", "transient")}
        pipelines = self.http.get("/_search/pipeline").json()
        return {**{kind: self.held(kind) for kind in KINDS}, "settings": scopes, "pipelines": pipelines}


def stand_in() -> Site:
    fake = FakeOpenSearch()
    site = Site(fake.client(), "http://127.0.0.1:8080")
    fake.gateway = site.ask
    return site


@contextlib.contextmanager
def real(engine: Engine) -> Iterator[Site]:
    """Yield a real cluster; everything that a test leaves in it is removed."""
    with httpx.Client(base_url=engine.url, timeout=60) as http:
        if "rerank" not in read_facts(Cluster(http)).processors:
            pytest.skip(f"{engine.url} has no ML Commons; name a cluster with ML Commons in SLIMRANK_TEST_OPENSEARCH_URL")
        if engine.origin == "docker":
            pytest.skip("the cluster in Docker cannot reach a gateway at this machine's 127.0.0.1")
        site = Site(http, "")
        with serving(answering(site.ask)) as site.gateway_url:
            yield site
            for name in site.state()["pipelines"]:
                site.send("DELETE", f"/_search/pipeline/{name}")
            remove(site.cluster(), name=NAME)
            for index in site.indices:
                site.send("DELETE", f"/{index}")
