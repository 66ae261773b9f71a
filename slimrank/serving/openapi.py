"""The OpenAPI description of the gateway, served at ``/openapi.json``.

Bodies are parsed by ``schemas.parse`` and not by the web framework, so that every error is in the
caller's wire format; hence the description is put together here, from the same wire models.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from slimrank import __version__
from slimrank.serving.schemas import ErrorAnswer, RerankAnswer, RerankBody, TeiBody

_REF = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (RerankBody, TeiBody)
_ANSWERS: tuple[type[BaseModel], ...] = (RerankAnswer, ErrorAnswer)
_ERRORS = {
    "400": "The request cannot be answered: empty, or not JSON",
    "413": "Too many documents, or too large a body",
    "422": "A field is missing, of the wrong type or out of range",
    "429": "Too much work is waiting; see Retry-After",
    "500": "The model failed",
    "503": "No model, worker or queue answers; see Retry-After",
    "504": "The answer would come after its deadline",
}


@cache
def describe(rerank_routes: Sequence[str]) -> dict[str, Any]:
    """Return the description."""
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
    _, replies = models_json_schema([(model, "serialization") for model in _ANSWERS], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": "slimrank", "version": __version__},
        "paths": {route: {"post": _rerank(route)} for route in rerank_routes}
        | {
            "/healthz": {"get": _probe("healthz", "This process answers")},
            "/readyz": {"get": _probe("readyz", "One pair was scored just now")},
        },
        "components": {"schemas": bodies["$defs"] | replies["$defs"]},
    }


def _rerank(route: str) -> dict[str, Any]:
    tei_result = {
        "type": "object",
        "required": ["index", "score"],
        "properties": {"index": {"type": "integer"}, "score": {"type": "number"}, "text": {"type": "string"}},
    }
    answers = [_ref("RerankAnswer"), {"type": "array", "items": tei_result}]
    tei_error = {
        "type": "object",
        "required": ["error", "error_type"],
        "properties": {"error": {"type": "string"}, "error_type": {"type": "string"}},
    }
    errors = {status: _content(text, {"anyOf": [_ref("ErrorAnswer"), tei_error]}) for status, text in _ERRORS.items()}
    return {
        "operationId": "rerank" + route.replace("/", "_"),
        "summary": "Rank documents for a query, best first",
        "requestBody": {"required": True} | _content("", {"anyOf": [_ref(model.__name__) for model in _BODIES]}),
        "responses": {"200": _content("Every document, or the best top_n", {"anyOf": answers})} | errors,
    }


def _probe(name: str, text: str) -> dict[str, Any]:
    answers = {"200": _content(text, {"type": "object"})}
    if name == "readyz":
        answers |= {status: _content(_ERRORS[status], _ref("ErrorAnswer")) for status in ("500", "503", "504")}
    return {"operationId": name, "responses": answers}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return ({"description": description} if description else {}) | {"content": {"application/json": {"schema": schema}}}
