"""Set the stage before one engine: its documents, the gateways good and bad, and every way in."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import elasticsearch
import httpx
import opensearchpy

from connector.proxy.answering import Parts
from connector.proxy.metrics import Metrics
from connector.proxy.rules import Rules
from connector.proxy.scorer import RemoteScorer
from connector.proxy.shadow import Shadow
from connector.proxy.upstream import Upstream
from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from tests.conformance import catalogue
from tests.conformance.cases import Place
from tests.conformance.ways import FUSION, INDEX, AsyncWay, ClientWay, LoadedWay, PipelineWay, ProxyWay
from tests.connector.proxy.conftest import RunningProxy
from tests.connector.served import serving
from tests.doubles import FakeScorer
from tests.nodes.engine import Engine
from tests.nodes.ml_commons import MlCommons
from tests.serving.conftest import over

ENGINES = {
    "opensearch": "OpenSearch 3.5.0",
    "elasticsearch_8": "Elasticsearch 8.19.21",
    "elasticsearch_7": "Elasticsearch 7.17.29",
}
WAYS = ("client", "client, async", "client, loaded model", "proxy", "search pipeline")
USER, PASSWORD = "ada", "lovelace"

_NO_GATEWAY = {"gateway": "the model is in the caller's process", "security": "tried with the client above"}
_PIPELINE_LACKS = {
    "paging": "the processor reranks each page by itself",
    "source": "the processor reads what _source leaves",
    "nested": "the processor reads nested fields from 3.6 on",
    "several": "the processor joins fields with nothing between them",
    "detection": "a pipeline's search names its text in ext.rerank",
    "sort": "the processor reorders sorted searches too",
    "counts": "the processor refuses size 0",
    "security": "the cluster calls the gateway itself",
    "first stage score": "the processor overwrites it",
}


def has(engine: str, way: str) -> bool:
    """Tell whether an engine has a way in that a node from Maven artifacts can show."""
    return way != "search pipeline" or engine == "opensearch"


@contextlib.contextmanager
def gateways() -> Iterator[dict[str, str]]:
    """Yield the URLs of a gateway that works, of one whose model knows what the first stage's order is worth, and of four
    that do not work.
    """
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(over(EmbeddedBackend(Model(ModelIdentity("words"), FakeScorer()))))
        fused = stack.enter_context(
            over(EmbeddedBackend(Model(ModelIdentity("fused", fusion_weight=FUSION.weight), FakeScorer())))
        )
        slow = stack.enter_context(
            over(EmbeddedBackend(Model(ModelIdentity("slow"), FakeScorer(seconds=1.5))), max_backlog_seconds=60)
        )
        yield {
            "good": str(good.base_url).rstrip("/"),
            "fused": str(fused.base_url).rstrip("/"),
            "slow": str(slow.base_url).rstrip("/"),
            "broken": stack.enter_context(serving(lambda request: httpx.Response(500, text="out of memory"))),
            "nonsense": stack.enter_context(serving(lambda request: httpx.Response(200, text="<html>welcome</html>"))),
            "down": "http://127.0.0.1:9",
        }


def index_documents(url: str) -> None:
    """Make the conformance index anew."""
    documents = [*catalogue.products(), *catalogue.special(), *catalogue.many()]
    lines = []
    with httpx.Client(base_url=url, timeout=60) as http:
        http.delete(f"/{INDEX}")
        settings = {"number_of_shards": 1, "number_of_replicas": 0}
        http.put(f"/{INDEX}", json={"settings": settings, "mappings": catalogue.MAPPING}).raise_for_status()
        for number, document in enumerate(documents):
            lines += [json.dumps({"index": {"_id": str(number)}}), json.dumps(document)]
        body = "\n".join(lines) + "\n"
        answer = http.post(f"/{INDEX}/_bulk?refresh=true", content=body, headers={"content-type": "application/x-ndjson"})
        assert answer.json()["errors"] is False


@contextlib.contextmanager
def _proxy(upstream: str, gateway: str, **tls: Any) -> Iterator[str]:
    metrics, scorer = Metrics(), RemoteScorer(gateway)
    parts = Parts(Upstream(upstream, **tls), scorer, Rules(), metrics, Shadow(metrics))
    proxy = RunningProxy(parts, scorer)  # type: ignore[arg-type]
    try:
        yield proxy.url
    finally:
        proxy.close()


def _behind_a_password(url: str, http: httpx.Client) -> Any:
    """Return what answers as the engine does to one user, and with 401 to all others."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != httpx.BasicAuth(USER, PASSWORD)._auth_header:
            return httpx.Response(401, json={"error": "Unauthorized"}, headers={"x-elastic-product": "Elasticsearch"})
        kept = {name: value for name, value in request.headers.items() if name in ("content-type", "accept")}
        target = request.url.raw_path.decode()
        return http.request(request.method, url + target, headers=kept, content=request.content)

    return answer


def _client(engine: str, url: str, *, asynchronous: bool = False, password: str = "", cert: str | None = None) -> Any:
    tls: dict[str, Any] = {"ca_certs": cert} if cert else {}
    if engine == "opensearch":
        opensearch_class = opensearchpy.AsyncOpenSearch if asynchronous else opensearchpy.OpenSearch
        return opensearch_class(url, http_auth=(USER, password) if password else None, max_retries=0, **tls)
    elastic_class = elasticsearch.AsyncElasticsearch if asynchronous else elasticsearch.Elasticsearch
    return elastic_class(url, basic_auth=(USER, password) if password else None, max_retries=0, **tls)


@contextlib.contextmanager
def places(engine: str, found: Engine, urls: Mapping[str, str], ml_commons: MlCommons | None) -> Iterator[dict[str, Place]]:
    """Yield every way into one engine, ready to be searched through."""
    index_documents(found.url)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        http = stack.enter_context(httpx.Client(timeout=60))
        secured = stack.enter_context(serving(_behind_a_password(found.url, http), tls=folder))
        cert = str(folder / "cert.pem")

        def client(url: str, **options: Any) -> ClientWay:
            return ClientWay(stack.enter_context(_client(engine, url, **options)), urls)

        def proxies(upstream: str, **tls: Any) -> dict[str, str]:
            return {name: stack.enter_context(_proxy(upstream, gateway, **tls)) for name, gateway in urls.items()}

        trusting = {"good": stack.enter_context(_proxy(secured, urls["good"], ca_file=folder / "cert.pem"))}
        untrusting = {"good": stack.enter_context(_proxy(secured, urls["good"]))}
        ready = {
            "client": Place(
                client(found.url),
                found.url,
                client(secured, password=PASSWORD, cert=cert),
                client(secured, password="wrong", cert=cert),
                client(secured, password=PASSWORD),
            ),
            "client, async": Place(
                AsyncWay(lambda: _client(engine, found.url, asynchronous=True), urls),
                found.url,
                AsyncWay(lambda: _client(engine, secured, asynchronous=True, password=PASSWORD, cert=cert), urls),
                AsyncWay(lambda: _client(engine, secured, asynchronous=True, password="wrong", cert=cert), urls),
                AsyncWay(lambda: _client(engine, secured, asynchronous=True, password=PASSWORD), urls),
            ),
            "client, loaded model": Place(
                LoadedWay(stack.enter_context(_client(engine, found.url)), urls), found.url, lacks=_NO_GATEWAY
            ),
            "proxy": Place(
                ProxyWay(proxies(found.url)),
                found.url,
                ProxyWay(trusting, auth=(USER, PASSWORD)),
                ProxyWay(trusting, auth=(USER, "wrong")),
                ProxyWay(untrusting, auth=(USER, PASSWORD)),
            ),
        }
        if engine == "opensearch" and ml_commons is not None:
            ready["search pipeline"] = Place(PipelineWay(found.url, urls, ml_commons), found.url, lacks=_PIPELINE_LACKS)
        yield ready
        httpx.delete(f"{found.url}/{INDEX}", timeout=30)
