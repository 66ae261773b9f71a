"""Read a live index of OpenSearch or Elasticsearch: its documents, and its own hits as hard negatives.

The best negatives come from the first stage that will be served. The index is only read. The
query is a ``multi_match`` over the given fields. The default search pipeline of the index is switched off, so that a
reranker is not trained on its own order. If the search application uses another query, give its hits as a TREC
run (``run:``) instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from slimrank.errors import ConfigError, DataError, EngineRefused, EngineUnavailable
from slimrank.evaluation.beir import Collection, Document
from slimrank.hits import value_at
from training.config import CollectionConfig

PAGE = 1000
MAX_DOCUMENTS = 100_000
TIMEOUT_SECONDS = 30.0
KEEP = "2m"


class LiveIndex:
    """One index, read over HTTP.

    Args:
        client: An HTTP client with the engine's address and credentials.
        name: The index or alias.
        fields: The fields that are searched and read; of several, the first is the title.

    Raises:
        EngineUnavailable, EngineRefused: the engine does not answer, or refuses the request.
    """

    def __init__(self, client: httpx.Client, name: str, fields: Sequence[str]) -> None:
        self._client = client
        self._name = name
        self._fields = list(fields)
        distribution = self._call("GET", "/").get("version", {}).get("distribution")
        self._first_stage_only = {"search_pipeline": "_none"} if distribution == "opensearch" else {}

    def search(self, query: str, depth: int) -> dict[str, float]:
        """Return up to ``depth`` doc_ids with their scores, best first."""
        body = {"size": depth, "_source": False, "query": {"multi_match": {"query": query, "fields": self._fields}}}
        found = self._call("POST", f"/{self._name}/_search", body, self._first_stage_only)
        return {hit["_id"]: float(hit["_score"]) for hit in found["hits"]["hits"]}

    def collection(self, *, most: int = MAX_DOCUMENTS) -> Collection:
        """Return the first ``most`` documents that have text; the collection has no queries and judgments.

        Raises:
            DataError: no document has text in these fields.
        """
        documents: dict[str, Document] = {}
        for hit in self._hits():
            document = self._document(hit)
            if document.content:
                documents[document.doc_id] = document
            if len(documents) == most:
                break
        if not documents:
            raise DataError(f"no document of index {self._name} has text in {', '.join(self._fields)}; name other fields")
        return Collection(self._name, documents, {}, {})

    def _hits(self) -> Iterator[dict[str, Any]]:
        body = {"size": PAGE, "sort": ["_doc"], "_source": self._fields}
        page = self._call("POST", f"/{self._name}/_search", body, {"scroll": KEEP} | self._first_stage_only)
        try:
            while page["hits"]["hits"]:
                yield from page["hits"]["hits"]
                page = self._call("POST", "/_search/scroll", {"scroll": KEEP, "scroll_id": page["_scroll_id"]})
        finally:
            self._call("DELETE", "/_search/scroll", {"scroll_id": [page["_scroll_id"]]})

    def _document(self, hit: dict[str, Any]) -> Document:
        texts = [_text(value_at(hit.get("_source") or {}, field)) for field in self._fields]
        title = texts.pop(0) if len(texts) > 1 else ""
        return Document(hit["_id"], title, "\n".join(text for text in texts if text))

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, parameters: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body, params=parameters)
        except httpx.TransportError as error:
            raise EngineUnavailable(f"{self._client.base_url} does not answer ({error}); is the engine up?") from error
        if answer.is_error:
            raise EngineRefused(f"{method} {path} at {self._client.base_url}: {answer.status_code} {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found


def open_index(entry: CollectionConfig) -> LiveIndex:
    """Open the index that an entry of a configuration names: engine, index, fields, and user or key files.

    Raises:
        ConfigError: a file with a secret cannot be read.
    """
    assert entry.engine and entry.index  # checked when the configuration was read
    auth = (entry.user, _secret(entry.password_file)) if entry.user and entry.password_file else None
    headers = {"authorization": f"ApiKey {_secret(entry.api_key_file)}"} if entry.api_key_file else {}
    client = httpx.Client(base_url=str(entry.engine), auth=auth, headers=headers, timeout=TIMEOUT_SECONDS)
    return LiveIndex(client, entry.index, entry.fields)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the secret in {path}: {error.strerror}") from error


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(_text(part) for part in value)
    return "" if value is None else str(value).strip()
