"""The seam between the gateway and whatever scores: one asynchronous method.

Two things stand behind it: ``embedded_backend.EmbeddedBackend``, a model in this process, and
``queue.queued_backend.QueuedBackend``, workers behind Redis. The gateway cannot tell them apart, which is why
the same request gives the same answer both ways.
"""

from collections.abc import Sequence
from typing import Protocol

from slimrank.engine.jobs import Answer, Job


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
