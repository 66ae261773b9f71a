"""The seam between the gateway and whatever scores: one asynchronous method.

Two things stand behind it: ``embedded.EmbeddedBackend``, a model in this process, and
``queued.QueuedBackend``, workers behind Redis. The gateway cannot tell them apart, which is why
the same request gives the same answer both ways.
"""

from dataclasses import dataclass
from typing import Protocol

from slimrank.types import RerankRequest, Scored


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be scored."""

    request: RerankRequest
    model: str | None = None
    """Name of a served model; None is the default one. Counts only where several are served."""
    max_document_tokens: int | None = None
    """Documents are cut to so many tokens first; None leaves the model's own limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and how its scores become probabilities."""

    scored: Scored
    model: str
    scale: float = 1.0
    offset: float = 0.0
    queue_seconds: float = 0.0
    """From acceptance to the first pair entering the model."""
    infer_seconds: float = 0.0


class Backend(Protocol):
    """Scores jobs for the gateway."""

    def choose_model(self, wanted: str | None) -> str:
        """Return the name of the model that would answer a request for ``wanted``.

        Raises:
            ModelNotReady: nothing is there that could score.
            InvalidRequest: several models are served, and none of this name (404).
        """
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
