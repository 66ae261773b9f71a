"""Cohere's format, v1 and v2, as Jina, vLLM, Together, infinity and most others use it too.

Voyage's body is the same but for two fields, `top_k` and `truncation`; where one of them is sent, the answer carries
Voyage's list, `data`, beside `results`, so that whoever sent it finds what it looks for.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from slimrank.serving.gateway.formats.call import Ranking, RerankCall
from slimrank.serving.gateway.formats.documents import Documents, RankFields, judged_texts
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.values import Flag, Query


class RerankBody(Body):
    """Cohere's, Jina's, vLLM's and Voyage's request."""

    query: Query = Field(description="What is searched for.")
    documents: Documents = Field(description="First-stage hits in first-stage order: strings, or objects with `text`.")
    return_documents: Flag = Field(False, description="Repeat each document in its result.")
    rank_fields: RankFields | None = Field(
        None, description="Fields of object documents to read, in this order; left out, `text`."
    )

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        is_voyages = bool({"top_k", "truncation"} & self.model_fields_set)
        return self.call(
            self.query,
            judged_texts(self.documents, self.rank_fields, name="documents"),
            write_with_list if is_voyages else write,
            returned=self.documents if self.return_documents else None,
        )


def write(ranking: Ranking) -> dict[str, Any]:
    """Return the answer."""
    results = _results(ranking)
    for result in results:
        if isinstance(document := result.get("document"), str):
            result["document"] = {"text": document}
    return {
        "id": ranking.request_id,
        "model": ranking.model,
        "results": results,
        "scores": ranking.values,
        "usage": ranking.usage,
        "meta": ranking.meta,
    }


def write_with_list(ranking: Ranking) -> dict[str, Any]:
    """Return the answer with Voyage's list in it, where a string stays one."""
    return write(ranking) | {"object": "list", "data": _results(ranking)}


def _results(ranking: Ranking) -> list[dict[str, Any]]:
    return [
        {"index": result.index, "relevance_score": result.value} | ranking.returned(result, "document")
        for result in ranking.results
    ]


class RerankResult(BaseModel):
    """One document's place in the answer."""

    index: int = Field(description="0-based place of the document in the request.")
    relevance_score: float = Field(description="Probability in (0, 1), or the score where `raw_scores` was asked for.")
    document: dict[str, Any] | str | None = Field(
        None, description="The document as it was sent; a string, in `results`, as `text`."
    )


class Calibration(BaseModel):
    """From raw score to probability: sigmoid(scale * score + offset)."""

    scale: float
    offset: float


class RerankMeta(BaseModel):
    """About the answer."""

    model_config = ConfigDict(extra="forbid")

    api_version: dict[str, str]
    billed_units: dict[str, int]
    model: str
    query_truncated: bool
    truncated_documents: list[int] = Field(
        description="Places in the request of the documents that were cut at the model's limit, or at one that the request named."
    )
    document_tokens: int | None = Field(
        None,
        description="What every longer document was cut to, as the server is set to; not there where the request said otherwise.",
    )
    scored_documents: int | None = Field(None, description="Documents that were scored; the others keep their order below.")
    partial: bool | None = Field(None, description="Whether the deadline came before all was scored that was to be.")
    passages: int | None = Field(None, description="Passages scored, where `max_passage` was asked for.")
    calibration: Calibration | None = Field(None, description="For callers that ask for raw scores.")
    fusion_weight: float | None = Field(None, description="How much first-stage ranks weigh, where a request gives them.")
    model_sha256: str | None = Field(None, description="The hash of the model folder's files; of a cascade, its last model's.")
    prompt_sha256: str | None = Field(None, description="The hash of its prompt.")
    warnings: list[str] | None = None
    degraded: str | None = Field(None, description="Why the documents are in first-stage order and not scored, if they are.")


class Usage(BaseModel):
    """Tokens that went through the model; a document whose score was known costs none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RerankAnswer(BaseModel):
    """The answer in Cohere's format, best first."""

    id: str
    model: str
    results: list[RerankResult]
    scores: list[float] = Field(
        description="The value of every document in the order of the request, for OpenSearch's ml_inference."
    )
    usage: Usage
    meta: RerankMeta
    object: str | None = Field(None, description="`list`, where the request was Voyage's.")
    data: list[RerankResult] | None = Field(None, description="Voyage's word for `results`.")
