"""Explain a document's score on each side by the weights of the terms, from the engine's ``explain``."""

import re
from collections.abc import Iterator
from typing import Any

from connector.audit.ask.access import Reached
from connector.audit.ask.search import fill, template_of
from connector.cluster import Refusal
from slimrank.types import Json

_WEIGHT = re.compile(r"weight\((?P<field>[^:()]+):(?P<term>.+?) in \d+\)")
_PARTS = ("boost", "idf", "tf")


def explain_document(reached: Reached, query: str, engine_id: str) -> Json | None:
    """Return a document's ``score`` and ``terms`` (``field:term`` -> weight, boost, idf, tf); None if there is no explanation."""
    side, cluster = reached.side, reached.cluster
    body = fill(template_of(side), query)
    if "query" not in body:
        return None
    filtered = {"bool": {"must": [body["query"]], "filter": [{"ids": {"values": [engine_id]}}]}}
    try:
        hits = cluster.read(f"/{side.index}/_search", {"size": 1, "explain": True, "_source": False, "query": filtered})["hits"][
            "hits"
        ]
    except Refusal:
        return None
    if not hits:
        return {"score": 0.0, "terms": {}}
    return {"score": hits[0]["_score"], "terms": dict(_terms(hits[0]["_explanation"]))}


def _terms(node: dict[str, Any]) -> Iterator[tuple[str, Json]]:
    found = _WEIGHT.search(node.get("description", ""))
    if found:
        parts = {name: value for name, value in _values(node) if name in _PARTS}
        yield f"{found['field']}:{found['term']}", {"weight": node["value"], **parts}
        return
    for detail in node.get("details", []):
        yield from _terms(detail)


def _values(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for detail in node.get("details", []):
        yield detail.get("description", "").split(",")[0].split(" ")[0], detail["value"]
        yield from _values(detail)
