"""The JSON messages between the page and its server. They use our own words, not those of other systems."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from connector.playground.documents import MAX_DOCUMENTS
from connector.playground.passages import find_passage
from connector.playground.rankers import Ranking
from connector.playground.sources import EngineAddress, FirstStage
from slimrank.errors import InvalidRequest
from slimrank.evaluation.beir import Document
from slimrank.scoring import NOTHING_SCORE

MAX_DEPTH = 200
MAX_SHOWN_CHARACTERS = 6000
"""The limit of a document's text on the page; the model reads the whole text."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Call = TypeVar("Call", bound=_Wire)


class OwnIndex(_Wire):
    """An index that the user names. It exists only during one request."""

    url: str = Field(max_length=2000)
    index_name: str = Field(min_length=1, max_length=255, pattern=r"^[^/\\?#\s\"<>|]+$")
    fields: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(min_length=1, max_length=20)
    user: str | None = None
    password: SecretStr | None = None
    api_key: SecretStr | None = None
    verify_tls: bool = True

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        try:
            parts = httpx.URL(value.strip())
        except httpx.InvalidURL as error:
            raise ValueError("it is not a URL") from error
        if parts.scheme not in ("http", "https") or not parts.host or parts.userinfo:
            raise ValueError("it must be http:// or https://, a host, and no credentials (there are separate fields for them)")
        return value.strip().rstrip("/")

    @field_validator("index_name")
    @classmethod
    def _is_no_path(cls, value: str) -> str:
        if value in (".", "..") or value.startswith("_"):
            raise ValueError("it is not a valid index name")
        return value

    def address(self) -> EngineAddress:
        """Return the address of the index."""
        return EngineAddress(
            self.url,
            self.index_name,
            tuple(self.fields),
            self.user or None,
            self.password.get_secret_value() if self.password else None,
            self.api_key.get_secret_value() if self.api_key else None,
            self.verify_tls,
        )


class OwnDocument(_Wire):
    """A document of the visitor."""

    doc_id: str = Field(min_length=1)
    title: str = ""
    text: str = ""


class OwnText(_Wire):
    """A text that a visitor pasted, or a file that was dropped."""

    name: str = Field("", max_length=255)
    text: str


class SearchCall(_Wire):
    """One search of the page."""

    query: str = Field(min_length=1, max_length=2000)
    depth: int = Field(20, ge=1, le=MAX_DEPTH)
    deadline_ms: int | None = Field(None, ge=1, le=600_000)
    own_index: OwnIndex | None = None
    own_documents: list[OwnDocument] | None = Field(None, min_length=1, max_length=MAX_DOCUMENTS)

    @property
    def is_own(self) -> bool:
        """Whether the visitor's own documents or index are searched."""
        return self.own_index is not None or self.own_documents is not None

    def documents(self) -> dict[str, Document]:
        """Return the visitor's documents by id."""
        return {one.doc_id: Document(one.doc_id, one.title, one.text) for one in self.own_documents or ()}

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if self.own_index is not None and self.own_documents is not None:
            raise ValueError("name an index or give documents, not both")
        return self

    @field_validator("query")
    @classmethod
    def _is_not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is blank")
        return value.strip()


def parse(kind: type[Call], body: bytes) -> Call:
    """Read a call.

    Raises:
        InvalidRequest: the body is not a valid call. The message names the field but never its value, which may be a secret.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"{place}: {message}", status=422) from error


def first_stage_event(call: SearchCall, found: FirstStage, query_id: str | None, judged: Mapping[str, int]) -> dict[str, Any]:
    """Return the event with the first stage's hits, their relevances, and the ideal relevances for nDCG.

    Args:
        query_id: The query's id in the searched collection, if it has one.
    """
    return {
        "event": "first_stage",
        "query": call.query,
        "query_id": query_id,
        "engine_ms": found.seconds * 1000,
        "ideal": sorted(judged.values(), reverse=True),
        "hits": [
            {
                "doc_id": hit.doc_id,
                "title": hit.title,
                "text": hit.text[:MAX_SHOWN_CHARACTERS],
                "is_shortened": len(hit.text) > MAX_SHOWN_CHARACTERS,
                "first_stage_score": hit.score,
                "relevance": judged.get(hit.doc_id),
                "passage": _passage(call.query, hit.text or hit.title),
            }
            for hit in found.hits
        ],
    }


def _passage(query: str, text: str) -> dict[str, Any]:
    passage = find_passage(query, text)
    return {
        "text": passage.text,
        "marks": [list(mark) for mark in passage.marks],
        "is_start": passage.is_start,
        "is_end": passage.is_end,
    }


def documents_answer(documents: Sequence[Document]) -> dict[str, Any]:
    """Return documents in the form that ``SearchCall`` accepts."""
    return {"documents": [{"doc_id": one.doc_id, "title": one.title, "text": one.text} for one in documents]}


def reranked_event(ranking: Ranking) -> dict[str, Any]:
    """Return the event that reorders the hits; it has one entry for each hit, in first-stage order."""
    return {
        "event": "reranked",
        "model": ranking.model.name,
        "scores": ranking.scored.scores.tolist(),
        # Documents after these were not scored in time: their numbers only keep the first-stage order.
        "scored": len(ranking.scored.scores) if ranking.scored.depth is None else ranking.scored.depth,
        # Documents without text: their numbers only put them last.
        "is_blank": (ranking.scored.scores < NOTHING_SCORE / 2).tolist(),
        "probabilities": ranking.probabilities(),
        "truncated": ranking.scored.truncated.tolist(),
        "query_truncated": ranking.scored.query_truncated,
        "tokens": ranking.scored.tokens,
        "fusion_weight": ranking.model.fusion_weight,
        "queue_ms": ranking.queue_seconds * 1000,
        "inference_ms": ranking.infer_seconds * 1000,
    }


def failed_event(stage: str, kind: str, message: str) -> dict[str, Any]:
    """Return the event that says why a stage failed."""
    return {"event": "failed", "stage": stage, "kind": kind, "message": message}
