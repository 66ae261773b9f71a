"""The ways into slimrank, each as one function from a search to its hits.

A way is asked for a search body, the fields to judge, a window, and which gateway to use: a good one, one whose model
uses the first stage's order, one that is down, one that is too slow, one that answers errors, one that answers nonsense.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import elasticsearch
import httpx
import opensearchpy

from connector.client import rerank_search
from connector.gateway_client import GatewayScorer
from connector.opensearch import bodies
from slimrank.engine.reranker import Reranker
from slimrank.manifest import Fusion
from slimrank.scoring import UNSCORED
from slimrank.types import Json
from tests.doubles import FakeScorer
from tests.nodes.ml_commons import MlCommons

INDEX = "slimrank-conformance"
DEADLINE_SECONDS = 0.4
FUSION = Fusion(weight=2.0, first_stage="the engine")

# Shared, since making a client takes longer than a search; all is plain HTTP on this machine.
HTTP = httpx.Client(timeout=30, trust_env=False, verify=False)
_HURRIED = httpx.Client(timeout=DEADLINE_SECONDS, trust_env=False, verify=False)


class EngineSaysNo(Exception):
    """The engine's own error, as a way passed it on; `status` is the engine's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a way answered. `mark` says why, where the hits were not reranked."""

    hits: list[Json]
    reranked: bool
    mark: str = ""
    answer: Json = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Ids of the hits, in order."""
        return [hit["_id"] for hit in self.hits]


@dataclass(frozen=True, slots=True)
class Ask:
    """One search, and how it is to be reranked."""

    body: Json
    fields: Sequence[str] = ("text",)
    window: int = 100
    gateway: str = "good"
    index: str = INDEX


Way = Callable[[Ask], Outcome]


def _outcome(answer: Json) -> Outcome:
    mark = answer.get("slimrank", {})
    return Outcome(answer["hits"]["hits"], bool(mark.get("reranked")), mark.get("reason", ""), answer)


_CLIENT_ERRORS = (opensearchpy.TransportError, elasticsearch.ApiError, elasticsearch.TransportError)


def _status_of(error: Exception) -> int:
    """Return the engine's status, 0 where it gave no answer."""
    status = getattr(error, "status_code", 0)
    return status if isinstance(status, int) else 0


class ClientWay:
    """`rerank_search` with the engine's official client; the scorer is a gateway's URL."""

    def __init__(self, client: Any, gateways: Mapping[str, str]) -> None:
        self._client, self._gateways = client, gateways

    def __call__(self, ask: Ask) -> Outcome:
        """Search and rerank."""
        scorer = self._scorer(ask)
        try:
            return _outcome(
                rerank_search(self._client, ask.index, ask.body, scorer=scorer, fields=ask.fields, rank_window_size=ask.window)
            )
        except _CLIENT_ERRORS as error:
            raise EngineSaysNo(_status_of(error)) from error

    def _scorer(self, ask: Ask) -> Any:
        return GatewayScorer(self._gateways[ask.gateway], http=_HURRIED if ask.gateway == "slow" else HTTP)


class LoadedWay(ClientWay):
    """The same with a loaded Reranker, in this process."""

    def _scorer(self, ask: Ask) -> Any:
        return Reranker(FakeScorer(), fusion=FUSION if ask.gateway == "fused" else None)


class AsyncWay:
    """`rerank_search` with the asynchronous client."""

    def __init__(self, make_client: Callable[[], Any], gateways: Mapping[str, str]) -> None:
        self._make_client, self._gateways = make_client, gateways

    def __call__(self, ask: Ask) -> Outcome:
        """Search and rerank, in an event loop of its own."""

        async def search() -> Json:
            async with self._make_client() as client:
                way = ClientWay(client, self._gateways)
                scorer = way._scorer(ask)
                found: Json = await rerank_search(
                    client, ask.index, ask.body, scorer=scorer, fields=ask.fields, rank_window_size=ask.window
                )
                return found

        try:
            return _outcome(asyncio.run(search()))
        except _CLIENT_ERRORS as error:
            raise EngineSaysNo(_status_of(error)) from error


class ProxyWay:
    """A plain HTTP search through `slimrank proxy`; there is one before the engine for each gateway."""

    def __init__(self, proxies: Mapping[str, str], *, auth: tuple[str, str] | None = None) -> None:
        self._proxies, self._auth = proxies, auth

    def __call__(self, ask: Ask) -> Outcome:
        """Search; how to rerank stands in `ext.slimrank`."""
        wish: Json = {"fields": list(ask.fields), "rank_window_size": ask.window, "deadline_ms": 10_000}
        if ask.gateway == "slow":
            wish["deadline_ms"] = round(DEADLINE_SECONDS * 1000)
        body = {**ask.body, "ext": {**ask.body.get("ext", {}), "slimrank": wish}}
        answer = httpx.post(
            f"{self._proxies[ask.gateway]}/{ask.index}/_search", json=body, auth=self._auth, timeout=30, trust_env=False
        )
        if answer.status_code != 200:
            raise EngineSaysNo(answer.status_code)
        state, _, reason = answer.headers["x-slimrank"].partition("; ")
        content = answer.json()
        return Outcome(content["hits"]["hits"], state == "reranked", reason, content)


class PipelineWay:
    """OpenSearch's rerank processor, on the node's own hits: its two lines of sorting here, all else ML Commons' classes.

    No node that can be had from Maven artifacts has the processor itself. With `ignore_failure`, as the installer sets it.
    """

    def __init__(self, engine_url: str, gateways: Mapping[str, str], ml_commons: MlCommons) -> None:
        self._url, self._gateways, self._ml_commons = engine_url, gateways, ml_commons

    def __call__(self, ask: Ask) -> Outcome:
        """Search the window, as oversample does; judge; cut the page, as truncate_hits does."""
        size = ask.body.get("size", 10)
        answer = HTTP.post(f"{self._url}/{ask.index}/_search", json={**ask.body, "size": ask.window})
        if answer.status_code != 200:
            raise EngineSaysNo(answer.status_code)
        content = answer.json()
        hits = content["hits"]["hits"]
        scores = self._scores(ask, hits) if hits else None
        if scores is None:
            return Outcome(hits[:size], False, "the first stage found nothing" if not hits else "ignore_failure", content)
        order = sorted(range(len(hits)), key=lambda place: -scores[place])
        ranked = [{**hits[place], "_score": scores[place]} for place in order]
        is_degraded = max(scores) <= UNSCORED
        return Outcome(ranked[:size], not is_degraded, "first stage, marked by its scores" if is_degraded else "", content)

    def _scores(self, ask: Ask, hits: list[Json]) -> list[float] | None:
        text = str(next(iter(ask.body["query"]["match"].values())))
        documents = ["".join(_plain(hit["_source"], name) for name in ask.fields) for hit in hits]
        connector = bodies.connector("slimrank", "http://gateway/v1/rerank", model="", api_key="k", description="")
        (payload,) = self._ml_commons.run([{"op": "payload", "connector": connector, "query": text, "documents": documents}])
        http = _HURRIED if ask.gateway == "slow" else HTTP
        try:
            answer = http.post(f"{self._gateways[ask.gateway]}/v1/rerank", content=payload["ok"])
            answer.raise_for_status()
        except (httpx.HTTPError, KeyError):
            return None
        (read,) = self._ml_commons.run([{"op": "scores", "answer": answer.text}])
        return read.get("ok")


def _plain(source: Json, name: str) -> str:
    value = source.get(name)
    return " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
