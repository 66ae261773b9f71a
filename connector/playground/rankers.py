"""Score the page's hits: an asynchronous protocol, and its two implementations.

``GatewayRanker`` asks a running gateway, as search engines do. ``EmbeddedRanker`` runs a model in this process. Neither retries:
if the model fails, the page keeps the first stage. At the deadline both return the scores that are ready.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from connector.bounded import PLAIN_OR_GZIP, bounded_async
from connector.gateway_client import explain_refusal, read_answer, rerank_body
from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.errors import DeadlineExceeded, ModelNotReady, SlimrankError
from slimrank.identity import ModelIdentity
from slimrank.scoring import PROBE_DOCUMENT, PROBE_QUERY, probabilities
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.types import RerankRequest, Scored

GRACE_SECONDS = 0.5
"""The answer at the deadline holds the scores so far. It arrives a little later, and the last slice may end late."""
PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of one query's documents, in the given order, and how long it waited and took."""

    scored: Scored
    model: ModelIdentity
    queue_seconds: float
    infer_seconds: float

    def probabilities(self) -> list[float]:
        """Return the probability of each document."""
        calibration = self.model.calibration
        chances: list[float] = probabilities(self.scored.scores, scale=calibration.scale, offset=calibration.offset).tolist()
        return chances


class Ranker(Protocol):
    """Scores the documents of one query."""

    async def start(self) -> None:
        """Prepare for scoring; called once, in the server's event loop."""
        ...

    async def stop(self) -> None:
        """Release threads and connections."""
        ...

    async def fusion_weight(self) -> float | None:
        """Return the model's fitted weight, so that the page can show it before a search; None = not known yet."""
        ...

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents; if ``timeout_seconds`` are not enough for all, score only the first of them.

        Raises:
            DeadlineExceeded: no document was scored within ``timeout_seconds``.
            ScoringError: the model failed or does not answer.
            InvalidRequest: the model refused the request.
        """
        ...


class EmbeddedRanker:
    """A model in this process."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._backend = EmbeddedBackend(model)

    async def start(self) -> None:
        """Start the scoring thread."""
        await self._backend.start()

    async def stop(self) -> None:
        """End the scoring thread."""
        await self._backend.stop()

    async def fusion_weight(self) -> float | None:
        """Return the model's weight; see ``Ranker``."""
        return self._model.identity.fusion_weight

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents; see ``Ranker``."""
        job = Job(RerankRequest(query, documents), takes_partial=True)
        answer = await self._backend.score(job, timeout_seconds=timeout_seconds, grace_seconds=GRACE_SECONDS)
        return Ranking(answer.scored, answer.model, answer.queue_seconds, answer.infer_seconds)


class GatewayRanker:
    """A gateway at a URL.

    Args:
        api_key: A key of the gateway.
        grace_seconds: How long after the deadline the answer may arrive.
        transport: A transport for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        grace_seconds: float = GRACE_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._grace_seconds = grace_seconds
        headers = PLAIN_OR_GZIP | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, transport=transport, trust_env=False, event_hooks=bounded_async()
        )
        self._fusion_weight: float | None = None

    async def start(self) -> None:
        """Do nothing: a gateway that is down now may answer the first search."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def fusion_weight(self) -> float | None:
        """Return the weight in the gateway's last answer; before the first answer, let the gateway score one pair."""
        if self._fusion_weight is None:
            with suppress(SlimrankError):  # the first search will report what is wrong
                await self.rank(PROBE_QUERY, [PROBE_DOCUMENT], timeout_seconds=PROBE_SECONDS)
        return self._fusion_weight

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        """Score the documents; see ``Ranker``."""
        body = rerank_body(query, documents, None) | {"deadline_ms": max(1, round(timeout_seconds * 1000))}
        answer = await self._post(body, timeout_seconds, len(documents))
        scored = read_answer(self.url, answer, len(documents))
        model = ModelIdentity.from_meta(answer.json().get("meta", {}))
        self._fusion_weight = model.fusion_weight
        queued, inferred = _seconds(answer, "x-queue-time"), _seconds(answer, "x-inference-time")
        return Ranking(scored, model, queued, inferred)

    async def _post(self, body: dict[str, Any], timeout_seconds: float, count: int) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout_seconds + self._grace_seconds):
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
