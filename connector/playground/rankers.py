"""What scores the page's hits: one asynchronous method, and the two things behind it.

``GatewayRanker`` asks a running gateway, as search engines do; ``EmbeddedRanker`` runs a model in this
process. Neither retries: where the model fails or is late, the first stage stays on the page.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import httpx

from connector.bounded import PLAIN_OR_GZIP, bounded_async
from connector.gateway import explain_refusal, read_answer, rerank_body
from slimrank.errors import DeadlineExceeded, ModelNotReady
from slimrank.scoring import probabilities
from slimrank.serving.backend import Job
from slimrank.serving.embedded import EmbeddedBackend
from slimrank.types import RerankRequest, Scored


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of one query's documents, in the order given, and what they cost."""

    scored: Scored
    probabilities: Sequence[float]
    model: str
    queue_seconds: float
    infer_seconds: float
    total_seconds: float
    fusion_weight: float = 0.0
    """How much the first-stage rank was fitted to weigh beside the model's score (``slimrank.fusion``)."""


class Ranker(Protocol):
    """Scores the documents of one query."""

    async def start(self) -> None:
        """Make ready; called once, in the server's event loop."""
        ...

    async def stop(self) -> None:
        """Let go of threads and connections."""
        ...

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents.

        Raises:
            DeadlineExceeded: no answer within ``timeout_seconds``.
            ScoringError: the model failed, or none answers.
            InvalidRequest: the model refused the request.
        """
        ...


class EmbeddedRanker:
    """A model in this process."""

    def __init__(self, backend: EmbeddedBackend) -> None:
        self._backend = backend

    async def start(self) -> None:
        """Start the scoring thread."""
        await self._backend.start()

    async def stop(self) -> None:
        """End the scoring thread."""
        await self._backend.stop()

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents; see ``Ranker``."""
        begin = monotonic()
        answer = await self._backend.score(Job(RerankRequest(query, documents)), timeout_seconds=timeout_seconds)
        chances = probabilities(answer.scored.scores, scale=answer.scale, offset=answer.offset).tolist()
        return Ranking(
            answer.scored,
            chances,
            answer.model,
            answer.queue_seconds,
            answer.infer_seconds,
            monotonic() - begin,
            answer.fusion_weight,
        )


class GatewayRanker:
    """A gateway at a URL.

    Args:
        api_key: One of the gateway's keys.
        transport: For tests.
    """

    def __init__(self, url: str, *, api_key: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        headers = PLAIN_OR_GZIP | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, transport=transport, trust_env=False, event_hooks=bounded_async()
        )

    async def start(self) -> None:
        """Do nothing: a gateway that is down now may be up for the first search."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents; see ``Ranker``."""
        begin = monotonic()
        body = rerank_body(query, documents, None) | {"deadline_ms": max(1, round(timeout_seconds * 1000))}
        answer = await self._post(body, timeout_seconds, len(documents))
        scored = read_answer(self.url, answer, len(documents))
        meta: dict[str, Any] = answer.json().get("meta", {})
        return Ranking(
            scored,
            probabilities(scored.scores, **meta.get("calibration", {})).tolist(),
            str(meta.get("model", "")),
            _seconds(answer, "x-queue-time"),
            _seconds(answer, "x-inference-time"),
            monotonic() - begin,
            float(meta.get("fusion_weight", 0.0)),
        )

    async def _post(self, body: dict[str, Any], timeout_seconds: float, count: int) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._http.post("/v1/rerank", json=body, timeout=None)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the gateway did not score {count} documents within {timeout_seconds:g} s; lower the depth or allow more time"
            ) from error
        except httpx.HTTPError as error:
            raise ModelNotReady(
                f"the gateway {self.url} does not answer ({str(error) or type(error).__name__}); is `slimrank serve` running there?"
            ) from error
        if answer.status_code != 200:
            raise explain_refusal(self.url, answer)
        return answer


def _seconds(answer: httpx.Response, header: str) -> float:
    try:
        return float(answer.headers.get(header, "0")) / 1000
    except ValueError:
        return 0.0
