"""A request and its answer in our words, whatever the wire format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from slimrank.engine.jobs import Job
from slimrank.serving.gateway.json_numbers import AsSent

OnFailure = Literal["error", "first_stage"]


@dataclass(frozen=True, slots=True)
class Result:
    """One document's place in an answer."""

    index: int
    """0-based place of the document in the request."""
    value: float
    """Its probability, or its score where raw scores were asked for."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer, which each format writes in its own words."""

    call: "RerankCall"
    results: Sequence[Result]
    """Best first, as many as were asked for."""
    values: Sequence[float]
    """A value for every document, in the order of the request."""
    meta: dict[str, Any]
    model: str
    tokens: int
    request_id: str

    @property
    def usage(self) -> dict[str, int]:
        """The tokens that went through the model; a score is no token, which clients for chat models ask about too."""
        return {"prompt_tokens": self.tokens, "completion_tokens": 0, "total_tokens": self.tokens}

    def returned(self, result: Result, key: str) -> dict[str, Any]:
        """Return the document of a result under a key, or nothing where documents are not to be returned."""
        if self.call.returned is None:
            return {}
        document = self.call.returned[result.index]
        return {key: document if isinstance(document, str) else AsSent(document)}


@dataclass(frozen=True, slots=True)
class RerankCall:
    """A request as the gateway handles it."""

    job: Job
    write: Callable[[Ranking], Any]
    """Writes the answer as the caller's format has it."""
    top_n: int | None = None
    raw_scores: bool = False
    returned: Sequence[Any] | None = None
    """The documents as they were sent, where they are to be repeated in their results."""
    must_fit: bool = False
    """A query or document that would have to be cut is an error."""
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
