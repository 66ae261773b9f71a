"""A gateway in a function, and an engine's refusal: what the engines in memory share."""

import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Gateway = Callable[[Json], tuple[int, str]]


def overlap_gateway(payload: Json) -> tuple[int, str]:
    """Answer as slimrank's gateway does, best first; the score counts the words shared with the query."""
    words = set(payload["query"].lower().split())
    scores = [float(len(words & set(document.lower().split()))) for document in payload["documents"]]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    return 200, json.dumps({"results": results, "scores": scores, "meta": {"scored_documents": len(scores)}})


class Refused(Exception):
    def __init__(self, status: int, reason: str, kind: str = "illegal_argument_exception") -> None:
        super().__init__(reason)
        self.status, self.reason, self.kind = status, reason, kind
