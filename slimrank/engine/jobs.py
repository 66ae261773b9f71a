"""A job for a model and its answer, whoever asks and however: Python, a gateway's own process, or a worker's queue."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from slimrank.identity import ModelIdentity
from slimrank.types import RerankRequest, Scored

Priority = Literal["query", "audit"]
Depth = int | Literal["auto"]
LongDocument = Literal["truncate", "max_passage"]
DocumentWindow = Literal["head", "best"]


@dataclass(frozen=True, slots=True)
class Job:
    """A request to score, with its limits."""

    request: RerankRequest
    model: str | None = None
    """Name of a served model; None is the default one. Counts only where several are served."""
    max_document_tokens: int | None = None
    """Most tokens of a document that are read; 0 = the model's own limit; None = the setting of the model's process."""
    priority: Priority = "query"
    """Audit work is done while no query waits."""
    depth: Depth | None = None
    """The number of documents to score, from the first on; "auto" = as many as fit into the time; None = all."""
    takes_partial: bool = False
    """At the deadline, what is scored by then is an answer (``slimrank.engine.anytime``)."""
    long_document: LongDocument = "truncate"
    """A document that is longer than a pair is cut, or split into passages (``slimrank.engine.passages``)."""
    caller: str = ""
    """Who asks, a key's name or an address: callers take turns (``slimrank.engine.turns``)."""
    scope: str = ""
    """Whose earlier scores may be used: a key's own; "" = those of all who ask without one."""
    is_suspect: bool = False
    """A worker died while it scored this: it is scored alone."""
    document_window: DocumentWindow | None = None
    """Which part of a document is read where it is cut (``slimrank.engine.windows``); None = what the model's process is set to."""
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
    """The scores of a job, and the model that gave them."""

    scored: Scored
    model: ModelIdentity
    queue_seconds: float = 0.0
    """From acceptance to the first pair entering the model."""
    infer_seconds: float = 0.0
    is_partial: bool = False
    """The deadline came before all documents were scored that were to be."""
    document_tokens: int = 0
    """Most tokens of a document that were read because the model's process is set so; 0 where the request said, or nothing is set."""
