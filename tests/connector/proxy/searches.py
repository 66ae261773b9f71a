"""The searches of the proxy's tests, and the expected results."""

import json

import httpx

from tests.connector.proxy.conftest import RunningProxy

SEARCH = {"query": {"match": {"body": "red"}}}


def ids(answer: httpx.Response) -> list[int]:
    return [int(hit["_id"]) for hit in answer.json()["hits"]["hits"]]


def best_first(window: int, count: int = 30) -> list[int]:
    """Return the order of the scorer's scores: a document contains the query word ``place % 7`` times."""
    return sorted(range(window), key=lambda place: -(place % 7)) + list(range(window, count))


def as_the_engine_gave(hit: dict[str, object]) -> dict[str, object]:
    """Return a hit without the values that reranking writes."""
    return {**{name: value for name, value in hit.items() if not name.startswith("_first_stage")}, "_score": 0}


def many(proxy: RunningProxy, *lines: object, path: str = "/_msearch") -> httpx.Response:
    body = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    return proxy.http.post(path, content=body, headers={"content-type": "application/x-ndjson"})
