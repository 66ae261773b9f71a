"""From a model's answer to the body that the caller's wire format expects, errors included."""

from dataclasses import replace
from typing import Any

from slimrank.fusion import fuse_scored
from slimrank.scoring import not_scored, rank
from slimrank.serving.backend import Answer
from slimrank.serving.failures import Failure
from slimrank.serving.schemas import RerankCall, Shape
from slimrank.types import RankedDocument

_TEI_ERRORS = {
    "invalid_request": "Validation",
    "unauthorized": "Unauthorized",
    "forbidden": "Unauthorized",
    "not_found": "Validation",
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
    "deadline_exceeded": "Backend",
    "internal": "Backend",
}
DOCUMENTS_OF_A_SEARCH_UNIT = 100


def body_of(call: RerankCall, answer: Answer, *, request_id: str) -> Any:
    """Return the body of an answer, full or partial, to ``call.job_by_rank()``."""
    scored = answer.scored
    if call.first_stage_ranks is not None and answer.fusion_weight:
        scored = fuse_scored(scored, sorted(call.first_stage_ranks), answer.fusion_weight)
    ranked = _in_places(call, rank(scored, scale=answer.scale, offset=answer.offset))
    return _body(call, ranked, _meta(call, answer), tokens=answer.scored.tokens, request_id=request_id)


def first_stage_body(call: RerankCall, reason: str, *, request_id: str) -> Any:
    """Return an answer that leaves the first stage's order, where scoring failed and the caller wants to go on.

    Engines drop our header, so the numbers mark it too: strictly descending in a band of their own,
    scores from -1000 down, probabilities of at most 1e-11.
    """
    ranked = _in_places(call, not_scored(0, len(call.job.request.documents)))
    meta = _meta_of(call, model="none") | {"degraded": reason}
    return _body(call, ranked, meta, tokens=0, request_id=request_id)


def _in_places(call: RerankCall, ranked: list[RankedDocument]) -> list[RankedDocument]:
    """Return the ranking with each document's place in the request, where it was scored in the first stage's order."""
    places = call.places_by_rank()
    return [replace(document, index=places[document.index]) for document in ranked]


def _body(call: RerankCall, ranked: list[RankedDocument], meta: dict[str, Any], *, tokens: int, request_id: str) -> Any:
    in_order = [_value(call, document) for document in sorted(ranked, key=lambda document: document.index)]
    ranked = ranked[: call.top_n]
    if call.shape == "tei":
        return [_tei_result(call, document) for document in ranked]
    return {
        "id": request_id,
        "model": meta["model"],
        "results": [_cohere_result(call, document) for document in ranked],
        "scores": in_order,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": meta,
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
    scored = answer.scored
    documents = len(scored.scores)
    meta = _meta_of(call, model=answer.model) | {
        # probability = sigmoid(scale * score + offset), for callers that ask for raw scores
        "calibration": {"scale": float(answer.scale), "offset": float(answer.offset)},
        "fusion_weight": float(answer.fusion_weight),
        **({"model_sha256": answer.model_sha256, "prompt_sha256": answer.prompt_sha256} if answer.model_sha256 else {}),
        "query_truncated": scored.query_truncated,
        "truncated_documents": sorted(call.places_by_rank()[i] for i in scored.truncated.nonzero()[0].tolist()),
        "scored_documents": documents if scored.depth is None else scored.depth,
        "partial": answer.is_partial,
    }
    return meta if scored.passages is None else meta | {"passages": scored.passages}


def _meta_of(call: RerankCall, *, model: str) -> dict[str, Any]:
    documents = call.job.request.documents
    meta: dict[str, Any] = {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": -(-len(documents) // DOCUMENTS_OF_A_SEARCH_UNIT)},
        "model": model,
        "query_truncated": False,
        "truncated_documents": [],
    }
    if empty := [place for place, text in enumerate(documents) if not text.strip()]:
        meta["warnings"] = [f"{len(empty)} documents are empty, the first at index {empty[0]}"]
    return meta


def error_body(failure: Failure, *, shape: Shape, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    if shape == "tei":
        return {"error": failure.message, "error_type": _TEI_ERRORS[failure.kind]}
    return {"id": request_id, "message": failure.message, "detail": failure.message, "type": failure.kind}
