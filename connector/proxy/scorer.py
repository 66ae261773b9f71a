"""Score without blocking the proxy's other callers, through a gateway or with a model in this process.

Both can be cancelled: a gateway notices the closed connection and drops the job; the embedded model removes the job from its
queue.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

from connector.bounded import PLAIN_OR_GZIP, bounded_async
from connector.gateway_client import GatewayScorer, explain_refusal, read_answer, rerank_body
from connector.window_cache import AS_SET, Part
from slimrank.errors import ModelNotReady
from slimrank.fusion import fuse_scored
from slimrank.types import RerankRequest, Scored


class AsyncScorer(Protocol):
    """Scores the documents of one query, which are in first-stage order; cancelling the call cancels the work."""

    async def start(self) -> None:
        """Prepare for scoring."""
        ...

    async def stop(self) -> None:
        """Release threads and connections."""
        ...

    async def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None,
        timeout_seconds: float,
        part: Part = AS_SET,
    ) -> Scored:
        """Return a score for each document, in the order given.

        Raises:
            SlimrankError: the scorer failed.
        """
        ...


class RemoteScorer:
    """Scores through POST /v1/rerank of the gateway at ``url``."""

    def __init__(self, url: str, *, api_key: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = GatewayScorer(url).url  # checks the URL
        headers = PLAIN_OR_GZIP | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        limits = httpx.Limits(keepalive_expiry=30)
        self._http = httpx.AsyncClient(
            headers=headers, transport=transport, trust_env=False, limits=limits, event_hooks=bounded_async()
        )

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None,
        timeout_seconds: float,
        part: Part = AS_SET,
    ) -> Scored:
        """Return a score for each document; see ``AsyncScorer``."""
        body = rerank_body(query, documents, instruction, first_stage_offset=0) | part.fields()
        try:
            # so that the gateway also gives up when nobody waits any more
            deadline = {"x-slimrank-deadline-ms": str(max(1, round(timeout_seconds * 1000)))}
            answer = await self._http.post(f"{self.url}/v1/rerank", json=body, headers=deadline, timeout=timeout_seconds)
        except httpx.RequestError as error:
            raise ModelNotReady(f"the gateway {self.url} does not answer ({error or type(error).__name__})") from error
        if answer.status_code != 200:
            raise explain_refusal(self.url, answer)
        return read_answer(self.url, answer, len(documents))


class EmbeddedScorer:
    """Scores with a model folder in this process.

    Raises:
        ManifestError: the folder is not valid for serving.
    """

    def __init__(self, folder: Path | None = None) -> None:
        from slimrank import settings as process_settings
        from slimrank.engine.model import Model
        from slimrank.serving.embedded_backend import EmbeddedBackend

        self._backend: Any = EmbeddedBackend(Model.from_settings(process_settings.load(model=folder)))

    async def start(self) -> None:
        """Start the scoring thread."""
        await self._backend.start()

    async def stop(self) -> None:
        """Finish the running job and end the thread."""
        await self._backend.stop()

    async def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None,
        timeout_seconds: float,
        part: Part = AS_SET,
    ) -> Scored:
        """Return a score for each document; see ``AsyncScorer``."""
        from slimrank.engine.jobs import Job

        job = Job(
            RerankRequest(query, documents, instruction),
            document_window=part.window,
            max_document_tokens=part.tokens,
            takes_partial=True,
        )
        answer = await self._backend.score(job, timeout_seconds=timeout_seconds)
        return fuse_scored(answer.scored, range(1, len(documents) + 1), answer.model.fusion_weight)


def make_scorer(where: str, *, model: Path | None = None, api_key: str | None = None) -> AsyncScorer:
    """Return the scorer that the command line names: a gateway's URL, or ``embedded``."""
    return EmbeddedScorer(model) if where == "embedded" else RemoteScorer(where, api_key=api_key)
