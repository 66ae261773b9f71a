"""From a model's answer to the body that the caller's wire format expects; errors have one body for all formats."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field

from slimrank.engine.jobs import Answer
from slimrank.errors import InvalidRequest
from slimrank.fusion import fuse_scored
from slimrank.scoring import not_scored, rank
from slimrank.serving.gateway.failures import Failure
from slimrank.serving.gateway.formats.call import Ranking, RerankCall, Result
from slimrank.types import RankedDocument, Scored

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
    """Return the body of an answer, full or partial, to ``call.job_by_rank()``.

    Raises:
        InvalidRequest: something was cut, and the caller would rather have an error.
    """
    scored, calibration = answer.scored, answer.model.calibration
    if call.must_fit:
        _check_uncut(call, scored)
    if call.first_stage_ranks is not None and answer.model.fusion_weight:
        scored = fuse_scored(scored, sorted(call.first_stage_ranks), answer.model.fusion_weight)
    ranked = _in_places(call, rank(scored, scale=calibration.scale, offset=calibration.offset))
    return _body(call, ranked, _meta(call, answer), tokens=answer.scored.tokens, request_id=request_id)


def _check_uncut(call: RerankCall, scored: Scored) -> None:
    cut = (["the query"] if scored.query_truncated else []) + [f"document {place}" for place in _cut_places(call, scored)]
    if cut:
        raise InvalidRequest(
            f"{cut[0]}{f' and {len(cut) - 1} more are' if cut[1:] else ' is'} longer than the model reads, and the request wants"
            " nothing cut; send shorter texts, or allow it (`truncate`, `truncation`), or `long_document`: `max_passage`",
            status=422,
        )


def _cut_places(call: RerankCall, scored: Scored) -> list[int]:
    places = call.places_by_rank()
    return sorted(places[i] for i in scored.truncated.nonzero()[0].tolist())


def first_stage_body(call: RerankCall, reason: str, *, request_id: str) -> Any:
    """Return an answer that leaves the first stage's order, where scoring failed and the caller wants to go on.

    Engines drop our header, so the numbers mark it too: strictly descending in a band of their own,
    scores from -1000 down, probabilities of at most 1e-11.
    """
    ranked = _in_places(call, not_scored(0, len(call.job.request.documents)))
    meta = _meta_of(call, model="none") | {"degraded": reason, "scored_documents": 0}
    return _body(call, ranked, meta, tokens=0, request_id=request_id)


def _in_places(call: RerankCall, ranked: list[RankedDocument]) -> list[RankedDocument]:
    """Return the ranking with each document's place in the request, where it was scored in the first stage's order."""
    places = call.places_by_rank()
    return [replace(document, index=places[document.index]) for document in ranked]


def _body(call: RerankCall, ranked: list[RankedDocument], meta: dict[str, Any], *, tokens: int, request_id: str) -> Any:
    results = [Result(document.index, document.score if call.raw_scores else document.probability) for document in ranked]
    values = [result.value for result in sorted(results, key=lambda result: result.index)]
    return call.write(Ranking(call, results[: call.top_n], values, meta, meta["model"], tokens, request_id))


def _meta(call: RerankCall, answer: Answer) -> dict[str, Any]:
    scored = answer.scored
    documents = len(scored.scores)
    meta = (
        _meta_of(call, model=answer.model.name)
        | answer.model.meta()
        | {
            "query_truncated": scored.query_truncated,
            "truncated_documents": _cut_places(call, scored),
            # what is cut from every document, unless a request says otherwise, is said once and not document by document
            **({"document_tokens": answer.document_tokens} if answer.document_tokens else {}),
            "scored_documents": documents if scored.depth is None else scored.depth,
            "partial": answer.is_partial,
        }
    )
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


class ErrorAnswer(BaseModel):
    """An error, in the words of every format at once: keys are checked before a body, and so its format, is read."""

    id: str
    message: str = Field(description="What was asked, what was found and what to do; Cohere's word.")
    detail: str = Field(description="The same; Jina's, Voyage's and xinference's word.")
    error: str = Field(description="The same; Text Embeddings Inference's word.")
    type: str
    error_type: str = Field(description="Text Embeddings Inference's kind of error.")


def error_body(failure: Failure, *, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    words = dict.fromkeys(("message", "detail", "error"), failure.message)
    return {"id": request_id} | words | {"type": failure.kind, "error_type": _TEI_ERRORS[failure.kind]}
