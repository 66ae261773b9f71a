"""The seam between the gateway and whatever scores: one asynchronous method.

Two things stand behind it: ``embedded.EmbeddedBackend``, a model in this process, and
``queued.QueuedBackend``, workers behind Redis. The gateway cannot tell them apart, which is why
the same request gives the same answer both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from slimrank.types import RerankRequest, Scored

Priority = Literal["query", "audit"]
Depth = int | Literal["auto"]
LongDocument = Literal["truncate", "max_passage"]
DocumentWindow = Literal["head", "best"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be scored."""

    request: RerankRequest
    model: str | None = None
    """Name of a served model; None is the default one. Counts only where several are served."""
    max_document_tokens: int | None = None
    """Documents are cut to so many tokens first; 0 leaves the model's own limit; None = what the model's process is set to."""
    priority: Priority = "query"
    """Audit work is done while no query waits."""
    depth: Depth | None = None
    """Documents to score, counted from the first; "auto" = as many as fit into the time; None = all."""
    takes_partial: bool = False
    """At the deadline, what is scored by then is an answer (``slimrank.serving.anytime``)."""
    long_document: LongDocument = "truncate"
    """Whether a document beyond the pair length is cut, or split into passages (``slimrank.serving.passages``)."""
    caller: str = ""
    """Who asks, a key's name or an address: callers take turns (``slimrank.serving.turns``)."""
    scope: str = ""
    """Whose earlier scores may be used: a key's own; "" = those of all who ask without one."""
    is_suspect: bool = False
    """A worker died while it scored this: it is scored alone."""
    document_window: DocumentWindow | None = None
    """Which part of a document is read where it is cut (``slimrank.serving.windows``); None = what the model's process is set to."""
    of: Sequence[str] = ()
    """All documents of the request, where these are a part of it: a window depends on them all."""

    def tokens_read(self, default: int) -> int:
        """Return how many tokens of a document are read at most; 0 = as many as the model takes.

        Args:
            default: What the model's process is set to. A document that is to be split into passages is read to its end.
        """
        if self.max_document_tokens is not None:
            return self.max_document_tokens
        return default if self.long_document == "truncate" else 0

    def part(self, start: int, size: int) -> "Job":
        """Return the job for ``size`` of the documents."""
        documents = self.request.documents
        return replace(self, request=replace(self.request, documents=documents[start : start + size]), of=self.of or documents)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and how its scores become probabilities."""

    scored: Scored
    model: str
    scale: float = 1.0
    offset: float = 0.0
    fusion_weight: float = 0.0
    """How much the first-stage ranks weigh where a request gives them (``slimrank.fusion``)."""
    model_sha256: str = ""
    """The hash of the model folder (``Manifest.digest``); "" where a scorer has none."""
    prompt_sha256: str = ""
    queue_seconds: float = 0.0
    """From acceptance to the first pair entering the model."""
    infer_seconds: float = 0.0
    is_partial: bool = False
    """The deadline came before all documents were scored that were to be."""
    document_tokens: int = 0
    """Most tokens of a document that were read because the model's process is set so; 0 where the request said, or nothing is set."""


class Backend(Protocol):
    """Scores jobs for the gateway."""

    def choose_model(self, wanted: str | None) -> str:
        """Return the name of the model that would answer a request for ``wanted``.

        Raises:
            ModelNotReady: nothing is there that could score.
            InvalidRequest: several models are served, and none of this name (404).
        """
        ...

    def models(self) -> Sequence[str]:
        """Return the names of the models served, the default one first.

        Raises:
            ModelNotReady: nothing is there that could score.
        """
        ...

    def document_tokens(self, model: str) -> int:
        """Return how many tokens of a document are read at most where a request does not say; 0 = as many as the model takes."""
        ...

    def failing(self) -> list[str]:
        """Return the names of background loops that fail, for health; none is well."""
        ...

    async def start(self) -> None:
        """Make ready to score; called once, in the gateway's event loop."""
        ...

    async def stop(self) -> None:
        """Let go of threads and connections; jobs still waiting fail."""
        ...

    async def score(self, job: Job, *, timeout_seconds: float) -> Answer:
        """Return the answer. A caller that cancels takes the job back before it is scored.

        Raises:
            DeadlineExceeded: no answer within ``timeout_seconds``.
            ModelNotReady: nothing is there that could score.
            InvalidRequest: the model refused the request.
            ScoringError: the model failed.
        """
        ...
