"""From a model's answer to the body that the caller's wire format expects, errors included."""

from typing import Any

from slimrank.scoring import rank
from slimrank.serving.backend import Answer
from slimrank.serving.failures import Failure
from slimrank.serving.schemas import RerankCall, Shape
from slimrank.types import RankedDocument

_TEI_ERRORS = {
    "invalid_request": "Validation",
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
    "deadline_exceeded": "Backend",
    "internal": "Backend",
}
DOCUMENTS_OF_A_SEARCH_UNIT = 100


def body_of(call: RerankCall, answer: Answer, *, request_id: str) -> Any:
    """Return the body of a full answer."""
    ranked = rank(answer.scored, scale=answer.scale, offset=answer.offset)[: call.top_n]
    if call.shape == "tei":
        return [_tei_result(call, document) for document in ranked]
    return {
        "id": request_id,
        "model": answer.model,
        "results": [_cohere_result(call, document) for document in ranked],
        "usage": {"prompt_tokens": answer.scored.tokens, "total_tokens": answer.scored.tokens},
        "meta": _meta(call, answer),
    }


def _value(call: RerankCall, document: RankedDocument) -> float:
    return document.score if call.raw_scores else document.probability


def _cohere_result(call: RerankCall, document: RankedDocument) -> dict[str, Any]:
    result: dict[str, Any] = {"index": document.index, "relevance_score": _value(call, document)}
    if call.return_documents:
        result["document"] = {"text": call.job.request.documents[document.index]}
    return result


def _tei_result(call: RerankCall, document: RankedDocument) -> dict[str, Any]:
    result: dict[str, Any] = {"index": document.index, "score": _value(call, document)}
    if call.return_documents:
        result["text"] = call.job.request.documents[document.index]
    return result


def _meta(call: RerankCall, answer: Answer) -> dict[str, Any]:
    documents = call.job.request.documents
    meta: dict[str, Any] = {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": -(-len(documents) // DOCUMENTS_OF_A_SEARCH_UNIT)},
        "model": answer.model,
        "query_truncated": answer.scored.query_truncated,
        "truncated_documents": answer.scored.truncated.nonzero()[0].tolist(),
    }
    if empty := [place for place, text in enumerate(documents) if not text.strip()]:
        meta["warnings"] = [f"{len(empty)} documents are empty, the first at index {empty[0]}"]
    return meta


def error_body(failure: Failure, *, shape: Shape, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    if shape == "tei":
        return {"error": failure.message, "error_type": _TEI_ERRORS[failure.kind]}
    return {"id": request_id, "message": failure.message, "detail": failure.message, "type": failure.kind}
