"""Wire models: what callers send, in whose words, and what they are answered.

Other systems' words (`relevance_score`, `top_n`, `texts`) live here only; ``RerankCall`` is the
same request in ours. Two shapes share the routes and are told apart by their fields: Cohere's,
which Jina's and vLLM's equal, with ``documents``; and Text Embeddings Inference's, with ``texts``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from slimrank.errors import InvalidRequest
from slimrank.requests import check_request
from slimrank.serving.backend import Job, LongDocument, Priority
from slimrank.serving.bodies import kind_of
from slimrank.types import RerankRequest

Shape = Literal["cohere", "tei"]
OnFailure = Literal["error", "first_stage"]
DEFAULT_SHAPE: Shape = "cohere"
# Said in the description only: the check, with its own words, is `check_request`.
NOT_BLANK: dict[str, JsonValue] = {"pattern": "\\S"}
NOT_EMPTY: dict[str, JsonValue] = {"minItems": 1, "maxItems": 10_000}
# Above what any caller means, and below where arithmetic on it would fail.
Count = Annotated[int, Field(ge=1, le=2**63 - 1)]
Rank = Annotated[int, Field(ge=1, le=2**31 - 1)]
_LISTS = ("documents", "texts", "first_stage_ranks")


@dataclass(frozen=True, slots=True)
class RerankCall:
    """A request as the gateway handles it, whatever its wire format."""

    shape: Shape
    job: Job
    top_n: int | None = None
    raw_scores: bool = False
    return_documents: bool = False
    deadline_ms: int | None = None
    on_failure: OnFailure = "error"
    first_stage_ranks: Sequence[int] | None = None
    """1-based, one a document; None where the order of the documents means nothing."""

    def places_by_rank(self) -> Sequence[int]:
        """Return the places of the documents in the first stage's order; as given where no ranks are."""
        places = range(len(self.job.request.documents))
        ranks = self.first_stage_ranks
        return places if ranks is None else sorted(places, key=lambda place: ranks[place])

    def job_by_rank(self) -> Job:
        """Return the job with its documents in the first stage's order, in which a deadline or a depth takes them."""
        documents = self.job.request.documents
        return replace(self.job, request=replace(self.job.request, documents=[documents[i] for i in self.places_by_rank()]))


class _Wire(BaseModel):
    # Strict: "5" is not 5. Fields unknown here are other servers' options and are ignored.
    model_config = ConfigDict(extra="ignore", strict=True)

    deadline_ms: Count | None = Field(
        None,
        description="Answer within this many milliseconds of arrival with what is scored by then, marked `partial`;"
        " documents are scored in first-stage order: by `first_stage_ranks`, else as given. As header: `x-slimrank-deadline-ms`.",
    )
    depth: Count | Literal["auto"] | None = Field(
        None,
        description="Score only so many documents, from the first stage's first, and leave the others in their order below;"
        " `auto`: as many as fit into the deadline, chosen before scoring begins.",
    )
    long_document: LongDocument = Field(
        "truncate",
        description="What becomes of a document beyond the pair length: cut, or split by sentences into passages,"
        " the best of which counts (`max_passage`; costs a pair a passage).",
    )
    on_failure: OnFailure = Field(
        "error", description="`first_stage`: where scoring fails, answer 200 with the documents in the order given."
    )
    first_stage_order: bool = Field(
        False, description="The documents stand in first-stage order: use it as a prior, with the weight fitted for the model."
    )
    first_stage_offset: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        0, description="With `first_stage_order`: how many first-stage hits come before the first document, as on a second page."
    )
    first_stage_ranks: Annotated[list[Rank], Field(fail_fast=True)] | None = Field(
        None, description="1-based first-stage rank of each document, where they do not stand in that order."
    )

    def ranks(self, count: int) -> Sequence[int] | None:
        """Return the first-stage rank of each of ``count`` documents, or None where the caller said none.

        Raises:
            InvalidRequest: there are more or fewer ranks than documents.
        """
        if self.first_stage_ranks is not None:
            if len(self.first_stage_ranks) != count:
                raise InvalidRequest(
                    f"first_stage_ranks has {len(self.first_stage_ranks)} ranks for {count} documents; send one a document",
                    status=422,
                )
            return self.first_stage_ranks
        if self.first_stage_order:
            return range(self.first_stage_offset + 1, self.first_stage_offset + count + 1)
        return None


class TextDocument(BaseModel):
    """A document as an object; other fields count only where ``rank_fields`` names them."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: str | None = None


class RerankBody(_Wire):
    """Cohere's shape, v1 and v2, as Jina and vLLM use it too."""

    query: str = Field(description="What is searched for.", json_schema_extra=NOT_BLANK)
    documents: Annotated[list[str | TextDocument], Field(fail_fast=True)] = Field(
        description="First-stage hits in first-stage order: strings, or objects with `text`.", json_schema_extra=NOT_EMPTY
    )
    model: str | None = Field(None, description="Name of a served model; left out, the default one.")
    top_n: Count | None = Field(None, description="Answer only the best; left out, every document is answered.")
    return_documents: bool = Field(False, description="Repeat each document in its result.")
    rank_fields: Annotated[list[str], Field(fail_fast=True, max_length=100)] | None = Field(
        None, description="Fields of object documents to read, in this order; left out, `text`."
    )
    max_tokens_per_doc: Count | None = Field(None, description="Cut documents to this many tokens.")
    instruction: str | None = Field(None, description="How to judge, such as `prefer recent manuals`.")
    priority: Priority = Field("query", description="`audit` waits until no query does.")
    raw_scores: bool = Field(False, description="Answer scores instead of probabilities; search engines should ask for this.")

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        documents = [self._text(document, place) for place, document in enumerate(self.documents)]
        return RerankCall(
            shape="cohere",
            job=Job(
                RerankRequest(self.query, documents, self.instruction),
                model=self.model,
                max_document_tokens=self.max_tokens_per_doc,
                priority=self.priority,
                depth=self.depth,
                long_document=self.long_document,
            ),
            top_n=self.top_n,
            raw_scores=self.raw_scores,
            return_documents=self.return_documents,
            deadline_ms=self.deadline_ms,
            on_failure=self.on_failure,
            first_stage_ranks=self.ranks(len(documents)),
        )

    def _text(self, document: str | TextDocument, place: int) -> str:
        if isinstance(document, str):
            return document
        names = list(dict.fromkeys(self.rank_fields or ["text"]))  # each once: a long list of one name would repeat the text
        values = [getattr(document, name, None) for name in names]
        texts = [
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values if value is not None
        ]
        if not texts:
            raise InvalidRequest(f"documents.{place} has none of the fields {', '.join(names)}; give it a `text`", status=422)
        return "\n".join(texts)


class TeiBody(_Wire):
    """The shape of Text Embeddings Inference."""

    query: str = Field(json_schema_extra=NOT_BLANK)
    texts: Annotated[list[str], Field(fail_fast=True)] = Field(json_schema_extra=NOT_EMPTY)
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        return RerankCall(
            shape="tei",
            job=Job(RerankRequest(self.query, self.texts), depth=self.depth, long_document=self.long_document),
            raw_scores=self.raw_scores,
            return_documents=self.return_text,
            deadline_ms=self.deadline_ms,
            on_failure=self.on_failure,
            first_stage_ranks=self.ranks(len(self.texts)),
        )


class ResultDocument(BaseModel):
    """A document as it is answered."""

    text: str


class RerankResult(BaseModel):
    """One document's place in the answer."""

    index: int = Field(description="0-based place of the document in the request.")
    relevance_score: float = Field(description="Probability in (0, 1), or the score where `raw_scores` was asked for.")
    document: ResultDocument | None = None


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
    truncated_documents: list[int] = Field(description="Places in the request of the documents that were cut.")
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
    total_tokens: int


class RerankAnswer(BaseModel):
    """The answer in Cohere's shape, best first."""

    id: str
    model: str
    results: list[RerankResult]
    scores: list[float] = Field(
        description="The value of every document in the order of the request, for OpenSearch's ml_inference."
    )
    usage: Usage
    meta: RerankMeta


class ErrorAnswer(BaseModel):
    """An error; ``message`` is Cohere's word for it, ``detail`` Jina's."""

    id: str
    message: str
    detail: str
    type: str


def parse(fields: dict[str, Any], *, max_documents: int) -> RerankCall:
    """Return the call that a body's fields are.

    Raises:
        InvalidRequest: a field is missing or of another type, or there is too much or too little of something.
    """
    for name in _LISTS:  # before each element is looked at
        if isinstance(value := fields.get(name), list) and len(value) > max_documents:
            raise InvalidRequest(f"{len(value)} {name} are too many: at most {max_documents} a request; send fewer", status=413)
    try:
        call = _MODELS[shape_of(fields)].model_validate(fields).to_call()
    except ValidationError as error:
        raise InvalidRequest(_explain(error), status=422) from error
    _check(call.job.request, max_documents)
    return call


def shape_of(fields: dict[str, Any]) -> Shape:
    """Tell the shapes apart: only TEI's has `texts`, and it has no `documents`."""
    return "tei" if "texts" in fields and "documents" not in fields else "cohere"


_MODELS: dict[Shape, type[RerankBody] | type[TeiBody]] = {"cohere": RerankBody, "tei": TeiBody}


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "TextDocument")) or "the body"
    if first["type"] == "missing":
        return f"{place} is missing; send an object with `query` and `documents`"
    if first["type"] == "too_long":
        return f"{place} should have at most {first['ctx']['max_length']} entries, found {len(first['input'])}"
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ").replace("a valid list", "a valid array")
    return f"{place} should be {message}, found {kind_of(first['input'])}"


def _check(request: RerankRequest, max_documents: int) -> None:
    check_request(request.query, request.documents, max_documents=max_documents)
    if not request.documents:
        raise InvalidRequest("documents is empty; send at least one, or skip reranking where the first stage found nothing")
    if not any(text.strip() for text in request.documents):
        raise InvalidRequest(
            "every document is empty; check that the engine sends the field to be judged"
            " (in OpenSearch, that `_source` keeps the pipeline's document_fields)"
        )
