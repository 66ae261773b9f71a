"""A gateway as a function, and an engine's refusal; the in-memory engines share them."""

import json
from collections.abc import Callable

import httpx

from slimrank.types import Json

Gateway = Callable[[Json], tuple[int, str]]


def overlap_gateway(payload: Json) -> tuple[int, str]:
    """Answer like slimrank's gateway, best first; the score is the number of words shared with the query."""
    words = set(payload["query"].lower().split())
    scores = [float(len(words & set(document.lower().split()))) for document in payload["documents"]]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    return 200, json.dumps({"results": results, "scores": scores, "meta": {"scored_documents": len(scores)}})


def answering(gateway: Gateway) -> Callable[[httpx.Request], httpx.Response]:
    """Return a function that answers HTTP requests with the gateway."""

    def answer(request: httpx.Request) -> httpx.Response:
        status, text = gateway(json.loads(request.content))
        return httpx.Response(status, text=text)

    return answer


class Refused(Exception):
    def __init__(self, status: int, reason: str, kind: str = "illegal_argument_exception", *, cause: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.kind, self.cause = status, reason, kind, cause
