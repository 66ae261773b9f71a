"""A scorer that calls slimrank's gateway over HTTP, so that engine code need not know where the model runs.

It asks for scores, not probabilities, and uses the indices in the answer to restore the order of the documents. It never retries,
because the caller's deadline is short and the fallback, the first-stage order, is good.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import httpx
import numpy as np

from connector.bounded import PLAIN_OR_GZIP, bounded
from connector.urls import require_url
from connector.window_cache import Windows
from slimrank.errors import DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, ScoringError
from slimrank.identity import ModelIdentity
from slimrank.scoring import PROBE_DOCUMENT, PROBE_QUERY
from slimrank.types import Scored

DEFAULT_TIMEOUT_SECONDS = 10.0


class GatewayScorer:
    """Scores through POST /v1/rerank of the gateway at ``url``.

    Args:
        timeout_seconds: Limit for connecting and for each read.
        priority: With ``audit``, the request waits until no search request is waiting.
        model: The name of one of several served models; None for the default model.
        document_window: Which part of a document that is too long is read, "head" or "best"; None for the gateway's setting.
        document_tokens: The most tokens to read of a document; None for the gateway's setting, by default 96 on a CPU.
        http: A client to use instead of a new one, for tests and for TLS settings.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        priority: Literal["query", "audit"] = "query",
        model: str | None = None,
        document_window: Literal["head", "best"] | None = None,
        document_tokens: int | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        require_url(url, "asked to score through the gateway", "http://localhost:8080")
        self.url = url.rstrip("/")
        self.windows = Windows()
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = http or httpx.Client(trust_env=False, timeout=timeout_seconds, headers=PLAIN_OR_GZIP, event_hooks=bounded())
        self._takes_partial = priority == "query"  # a partial answer is good enough for a search, but not for a measurement
        self._options: dict[str, Any] = {"deadline_ms": max(1, int(timeout_seconds * 1000))}
        if priority != "query":
            self._options["priority"] = priority
        if model is not None:
            self._options["model"] = model
        if document_window is not None:
            self._options["document_window"] = document_window
        if document_tokens is not None:
            self._options["max_tokens_per_doc"] = document_tokens

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return a score for each document, in the order given.

        Raises:
            ModelNotReady: nothing answers, or no model is ready.
            DeadlineExceeded: the answer did not come in time.
            Overloaded: too much work is waiting.
            InvalidRequest: the gateway rejects this request.
            ScoringError: the answer does not have one score for each document.
        """
        return self._score(rerank_body(query, documents, instruction), len(documents))

    def score_in_order(self, query: str, documents: Sequence[str], *, instruction: str | None = None, offset: int = 0) -> Scored:
        """Return scores as ``score`` does, for documents in first-stage order, which the gateway's model uses as a prior.

        Args:
            offset: How many first-stage hits come before the first document.
        """
        return self._score(rerank_body(query, documents, instruction, first_stage_offset=offset), len(documents))

    def probabilities(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return a probability of relevance for each document, in the order given.

        Raises:
            SlimrankError: as ``score`` does.
        """
        body = rerank_body(query, documents, None) | {"raw_scores": False}
        return [float(probability) for probability in self._score(body, len(documents)).scores]

    def identify(self) -> dict[str, Any]:
        """Return which model answers: its ``score`` of a pair that never changes, and its name and hashes if the gateway sends them.

        Raises:
            SlimrankError: as ``score`` does.
        """
        answer = self._post(rerank_body(PROBE_QUERY, [PROBE_DOCUMENT], None), 1)
        score = round(float(read_answer(self.url, answer, 1).scores[0]), 2)  # machines differ in later digits
        return {"score": score} | ModelIdentity.from_meta(answer.json().get("meta") or {}).hashes()

    def _score(self, body: dict[str, Any], expected: int) -> Scored:
        scored = read_answer(self.url, self._post(body, expected), expected)
        if scored.depth is not None and not self._takes_partial:
            raise DeadlineExceeded(f"the gateway {self.url} scored {scored.depth} of {expected} documents in time")
        return scored

    def _post(self, body: dict[str, Any], expected: int) -> httpx.Response:
        try:
            answer = self._http.post(f"{self.url}/v1/rerank", json=body | self._options, headers=self._headers)
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"the gateway {self.url} did not score {expected} documents in time") from error
        except httpx.HTTPError as error:
            raise ModelNotReady(
                f"the gateway {self.url} does not answer ({error}); is `slimrank serve` running there?"
            ) from error
        if answer.status_code != 200:
            raise explain_refusal(self.url, answer)
        return answer


def rerank_body(
    query: str, documents: Sequence[str], instruction: str | None, *, first_stage_offset: int | None = None
) -> dict[str, Any]:
    """Return the request body that asks for scores instead of probabilities.

    Args:
        first_stage_offset: How many hits come before the documents, which are in first-stage order; None if they are in no order.
    """
    body: dict[str, Any] = {"query": query, "documents": list(documents), "raw_scores": True}
    if first_stage_offset is not None:
        body |= {"first_stage_order": True, "first_stage_offset": first_stage_offset}
    return body if instruction is None else body | {"instruction": instruction}


def explain_refusal(url: str, answer: httpx.Response) -> ScoringError | InvalidRequest:
    """Return the error for a gateway's answer with a status other than 200."""
    try:
        message = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        message = ""
    words = f"the gateway {url} answered {answer.status_code}: {message or answer.text[:200]}"
    match answer.status_code:
        case 429:
            return Overloaded(words)
        case 502 | 503:
            return ModelNotReady(words)
        case 408 | 504:
            return DeadlineExceeded(words)
        case 400 | 413 | 422:
            return InvalidRequest(words, status=answer.status_code)
        case _:
            return ScoringError(words)


def read_answer(url: str, answer: httpx.Response, expected: int) -> Scored:
    """Return the scores of a gateway's answer, in the order of the documents in the request.

    Raises:
        ScoringError: the answer does not have one score for each document.
    """
    try:
        body = answer.json()
        scores = np.full(expected, np.nan, dtype=np.float32)
        for result in body["results"]:
            scores[result["index"]] = result["relevance_score"]
        meta = body.get("meta") or {}
        if meta.get("degraded"):
            raise ScoringError(f"the gateway {url} did not rerank the documents: {meta['degraded']}")
        truncated = np.zeros(expected, dtype=np.bool_)
        truncated[list(meta.get("truncated_documents", []))] = True
        tokens = int((body.get("usage") or {}).get("total_tokens", 0))
        depth = int(meta.get("scored_documents") or expected)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ScoringError(
            f"the answer of {url} is not a reranker's answer: {answer.text[:200]!r}; is slimrank's gateway at that URL?"
        ) from error
    if not np.isfinite(scores).all():
        raise ScoringError(f"the gateway {url} got {expected} documents and scored {int(np.isfinite(scores).sum())}")
    is_partial = depth < expected
    return Scored(scores, truncated, bool(meta.get("query_truncated", False)), tokens, depth=depth if is_partial else None)


@lru_cache(maxsize=16)
def gateway_at(url: str) -> GatewayScorer:
    """Return the scorer for a gateway's URL. The same URL gives the same scorer, so that connections are kept."""
    return GatewayScorer(url)
