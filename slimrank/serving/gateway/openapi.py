"""The OpenAPI description of the gateway, served at ``/openapi.json``.

Bodies are parsed by ``schemas.parse`` and not by the web framework, so that every error is in
words of our own; hence the description is put together here, from the same wire models.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from slimrank import __version__
from slimrank.serving.gateway.answers import ErrorAnswer
from slimrank.serving.gateway.formats.cohere import RerankAnswer, RerankBody
from slimrank.serving.gateway.formats.mixedbread import RerankingAnswer, RerankingBody
from slimrank.serving.gateway.formats.nvidia import RankingAnswer, RankingBody
from slimrank.serving.gateway.formats.tei import TeiBody, TeiResult
from slimrank.serving.gateway.formats.vllm import ScoreAnswer, ScoreBody

_REF = "#/components/schemas/{model}"
BODIES: tuple[type[BaseModel], ...] = (RerankBody, TeiBody, RankingBody, RerankingBody, ScoreBody)
_ANSWERS: tuple[type[BaseModel], ...] = (RerankAnswer, TeiResult, RankingAnswer, RerankingAnswer, ScoreAnswer, ErrorAnswer)
_ERRORS = {
    "400": "The request cannot be answered: empty, or not JSON",
    "401": "A key is needed",
    "403": "The key is not granted the model, or another site's page asks a gateway without keys",
    "408": "The body did not arrive in time",
    "413": "Too many documents, or too large a body",
    "415": "The body is packed otherwise than by gzip, or, without keys on a loopback address, not said to be JSON",
    "421": "Without keys on a loopback address: the request names another host",
    "422": "A field is missing, of the wrong type or out of range",
    "429": "Too much work is waiting; see Retry-After",
    "500": "The model failed",
    "503": "No model, worker or queue answers; see Retry-After",
    "504": "The answer would come after its deadline",
}


@cache
def describe(rerank_routes: Sequence[str]) -> dict[str, Any]:
    """Return the description."""
    _, bodies = models_json_schema([(model, "validation") for model in BODIES], ref_template=_REF)
    _, replies = models_json_schema([(model, "serialization") for model in _ANSWERS], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": "slimrank", "version": __version__},
        "paths": {route: {"post": _rerank(route)} for route in rerank_routes}
        | {
            "/healthz": {"get": _probe("healthz", "This process answers")},
            "/readyz": {"get": _probe("readyz", "One pair was scored just now")},
            "/info": {"get": _probe("info", "What is served, as Text Embeddings Inference says it")},
            "/v1/models": {"get": _probe("models", "The models that the caller may ask for")},
        },
        "components": {"schemas": bodies["$defs"] | replies["$defs"]},
    }


def _rerank(route: str) -> dict[str, Any]:
    objects = [_ref(model.__name__) for model in _ANSWERS if model not in (TeiResult, ErrorAnswer)]
    answers = [*objects, {"type": "array", "items": _ref("TeiResult")}]
    errors = {status: _content(text, _ref("ErrorAnswer")) for status, text in _ERRORS.items()}
    return {
        "operationId": "rerank" + route.replace("/", "_"),
        "summary": "Rank documents for a query, best first",
        "requestBody": {"required": True} | _content("", {"anyOf": [_ref(model.__name__) for model in BODIES]}),
        "responses": {"200": _content("Every document, or the best top_n", {"anyOf": answers})} | errors,
    }


def _probe(name: str, text: str) -> dict[str, Any]:
    answers = {"200": _content(text, {"type": "object"})}
    if name != "healthz":
        answers |= {status: _content(_ERRORS[status], _ref("ErrorAnswer")) for status in ("429", "500", "503", "504")}
    return {"operationId": name, "responses": answers}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return ({"description": description} if description else {}) | {"content": {"application/json": {"schema": schema}}}
