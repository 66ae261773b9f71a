"""Search for the page's hits: an asynchronous protocol, and its two implementations.

``CorpusSource`` searches documents in memory with BM25; ``EngineSource`` asks OpenSearch or Elasticsearch over HTTP. Neither
knows of models or judgments.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any, Protocol

import httpx

from connector.bounded import PLAIN_OR_GZIP, bounded_async
from connector.cluster import explain_transport
from connector.fields import field_text
from slimrank.bm25 import BM25
from slimrank.errors import EngineRefused, EngineUnavailable
from slimrank.evaluation.beir import Document
from slimrank.prompt import document_text

MAX_ANSWER_BYTES = 32 * 2**20
ENGINE_SECONDS = 30.0
CHECKED_HITS = 5


@dataclass(frozen=True, slots=True)
class FirstStageHit:
    """One hit of the first stage."""

    doc_id: str
    title: str
    text: str
    score: float

    @property
    def content(self) -> str:
        """The text that the model reads."""
        return document_text(self.title, self.text)


@dataclass(frozen=True, slots=True)
class FirstStage:
    """The answer of a first stage, best hit first."""

    hits: Sequence[FirstStageHit]
    seconds: float


class Source(Protocol):
    """A first stage."""

    @property
    def label(self) -> str:
        """A description of what is searched, for the page."""
        ...

    async def search(self, query: str, size: int) -> FirstStage:
        """Return up to ``size`` hits.

        Raises:
            EngineError: the engine does not answer, or refuses.
        """
        ...


class CorpusSource:
    """Documents in memory, searched with BM25.

    Args:
        fills_up: Whether documents that share no word with the query follow after the hits, in the given order.
    """

    def __init__(self, documents: Mapping[str, Document], *, label: str, fills_up: bool = False) -> None:
        self.label = label
        self._fills_up = fills_up
        self._documents = documents
        self._index = BM25({doc_id: document.content for doc_id, document in documents.items()})

    async def search(self, query: str, size: int) -> FirstStage:
        """Return up to ``size`` hits; runs in a thread, because it needs the processor."""
        begin = perf_counter()
        scores = await asyncio.to_thread(self._index.search, query, size)
        seconds = perf_counter() - begin
        if self._fills_up:
            others = (doc_id for doc_id in self._documents if doc_id not in scores)
            scores |= dict.fromkeys(islice(others, size - len(scores)), 0.0)
        return FirstStage([self._hit(doc_id, score) for doc_id, score in scores.items()], seconds)

    def _hit(self, doc_id: str, score: float) -> FirstStageHit:
        document = self._documents[doc_id]
        return FirstStageHit(doc_id, document.title, document.text, score)


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An index of a search engine and its credentials. ``repr`` leaves the secrets out, so that no log shows them."""

    url: str
    index_name: str
    fields: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    api_key: str | None = None
    verify_tls: bool = True

    def __repr__(self) -> str:
        """Return the URL and the index without secrets."""
        return f"EngineAddress({self.url}/{self.index_name})"


class EngineSource:
    """One index of OpenSearch or Elasticsearch, searched with a plain ``match`` on its fields.

    If there are several fields, the first one is shown as the title. Redirects are not followed, so credentials are sent only to
    the named host.

    Args:
        transport: A transport for tests.
    """

    def __init__(self, address: EngineAddress, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address = address
        self._transport = transport
        self.label = f"{address.index_name} at {httpx.URL(address.url).host}"

    async def search(self, query: str, size: int) -> FirstStage:
        """Return up to ``size`` hits."""
        begin = perf_counter()
        answer = await self._ask(_body(query, self._address.fields, size))
        seconds = perf_counter() - begin
        return FirstStage([self._hit(hit) for hit in _hits(self._address, answer)], seconds)

    async def check(self) -> None:
        """Check that the index can be searched, and that its first documents have text in the fields.

        Raises:
            EngineError: the index cannot be searched, or the documents have no text.
        """
        address = self._address
        found = _hits(address, await self._ask({"size": CHECKED_HITS, "query": {"match_all": {}}}))
        if not found:
            raise EngineRefused(f"the index {address.index_name} at {address.url} holds no documents; fill it first")
        if not any(field_text(hit, name) for hit in found for name in address.fields):
            there = ", ".join(sorted({name for hit in found for name in hit.get("_source") or {}})[:12])
            raise EngineRefused(
                f"the first {len(found)} documents of {address.index_name} have no text in {', '.join(address.fields)};"
                f" their fields are {there or 'not kept in _source'}"
            )

    async def _ask(self, body: dict[str, Any]) -> httpx.Response:
        address = self._address
        try:
            async with self._client() as client:
                answer = await client.post(f"/{address.index_name}/_search", json=body)
        except httpx.HTTPError as error:
            raise explain_transport(error, address.url) from error
        if answer.status_code != 200:
            raise _refusal(address, answer)
        return answer

    def _client(self) -> httpx.AsyncClient:
        address = self._address
        return httpx.AsyncClient(
            base_url=address.url,
            auth=httpx.BasicAuth(address.user, address.password or "") if address.user else None,
            headers=PLAIN_OR_GZIP | ({"Authorization": f"ApiKey {address.api_key}"} if address.api_key else {}),
            event_hooks=bounded_async(MAX_ANSWER_BYTES),
            verify=address.verify_tls,
            timeout=ENGINE_SECONDS,
            transport=self._transport,
            trust_env=False,
        )

    def _hit(self, hit: dict[str, Any]) -> FirstStageHit:
        values = [field_text(hit, name) for name in self._address.fields]
        title, texts = (values[0], values[1:]) if len(values) > 1 else ("", values)
        return FirstStageHit(str(hit["_id"]), title, "\n".join(filter(None, texts)), float(hit.get("_score") or 0.0))


def _body(query: str, fields: Sequence[str], size: int) -> dict[str, Any]:
    return {"size": size, "_source": list(fields), "query": {"multi_match": {"query": query, "fields": list(fields)}}}


def _hits(address: EngineAddress, answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        hits = answer.json()["hits"]["hits"]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(f"{address.url} answered, but the answer is not a search engine's; check the URL") from error
    return [hit for hit in hits if isinstance(hit, dict) and "_id" in hit]


def _refusal(address: EngineAddress, answer: httpx.Response) -> EngineRefused:
    words = {
        401: "does not accept the credentials; check user and password, or the API key",
        403: "does not allow the user to search this index; give the user read access",
        404: f"has no index called {address.index_name}; check its name",
    }
    said = words.get(answer.status_code, f"refused the search: {_reason(answer)}")
    return EngineRefused(f"{address.url} {said} ({answer.status_code})")


def _reason(answer: httpx.Response) -> str:
    """Return the engine's reason. Other parts of the answer are not shown, because its author is unknown."""
    try:
        error = answer.json()["error"]
        return str((error.get("root_cause") or [error])[0]["reason"])[:300]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "it gave no reason"
