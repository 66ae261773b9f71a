"""Rerank in the caller's program: search with opensearch-py or elasticsearch-py, reorder the hits, return the engine's answer.

The cluster needs no installation and no licence. If the reranker fails, the answer has the first-stage order and a mark. Errors
of the engine are the client library's own exceptions and are not changed.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, Protocol, overload

from connector.gateway_client import GatewayScorer, gateway_at
from connector.rerank_plan import DEFAULT_WINDOW, Options, RerankPlan, documents_of, finish, plan_search
from connector.scorers import AnyScorer, score_hits
from connector.window_cache import window_key
from slimrank.errors import SlimrankError
from slimrank.types import Json, Scored

log = logging.getLogger(__name__)


class SearchClient(Protocol):
    """opensearchpy.OpenSearch or elasticsearch.Elasticsearch."""

    def search(self, *, index: Any, body: Any) -> Any:
        """Run a search."""
        ...


class AsyncSearchClient(Protocol):
    """opensearchpy.AsyncOpenSearch or elasticsearch.AsyncElasticsearch."""

    async def search(self, *, index: Any, body: Any) -> Any:
        """Run a search."""
        ...


@overload
def rerank_search(
    client: AsyncSearchClient, index: str | Sequence[str], body: Mapping[str, Any], *, scorer: AnyScorer, query: str | None = ...,
    fields: Sequence[str] = ..., template: str | None = ..., rank_window_size: int = ..., highlight: bool = ..., explain: bool = ...,
    instruction: str | None = ..., on_failure: Literal["first_stage", "raise"] = ...,
) -> Awaitable[Json]: ...  # fmt: skip
@overload
def rerank_search(
    client: SearchClient, index: str | Sequence[str], body: Mapping[str, Any], *, scorer: AnyScorer, query: str | None = ...,
    fields: Sequence[str] = ..., template: str | None = ..., rank_window_size: int = ..., highlight: bool = ..., explain: bool = ...,
    instruction: str | None = ..., on_failure: Literal["first_stage", "raise"] = ...,
) -> Json: ...  # fmt: skip
def rerank_search(
    client: Any, index: str | Sequence[str], body: Mapping[str, Any], *, scorer: AnyScorer, query: str | None = None,
    fields: Sequence[str] = (), template: str | None = None, rank_window_size: int = DEFAULT_WINDOW, highlight: bool = False,
    explain: bool = False, instruction: str | None = None, on_failure: Literal["first_stage", "raise"] = "first_stage",
) -> Json | Awaitable[Json]:  # fmt: skip
    """Search, rerank the first hits, and return the engine's answer with the requested page.

    Example:
        answer = rerank_search(client, "products", {"query": {"match": {"title": "red shoes"}}},
                               scorer="http://localhost:8080", fields=["title", "bullets"])

    Args:
        client: A sync or an async client. With an async client the result must be awaited.
        body: The search body; ``from`` and ``size`` select a page of the reranked window.
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        query: The text to judge by. Default: the text that the body searches for.
        fields: The fields that make up a document. Default: the fields that the body searches.
        template: A text with fields in braces, instead of ``fields``, such as "{title}: {body}".
        rank_window_size: How many first-stage hits to rerank.
        highlight: Judge only the engine's best fragments of each field, for long fields. A field that the body itself highlights
            is still judged whole.
        explain: Add to each hit, under ``_slimrank``, its ranks, its probability and its document.
        instruction: How to judge, such as "prefer recent manuals".
        on_failure: With "raise", an error of the reranker is raised.

    Returns:
        The engine's answer as a dictionary. A reranked hit has its score in ``_score``, and ``_first_stage_score`` and
        ``_first_stage_rank`` (from 1); hits behind the window keep the engine's score. ``slimrank`` is
        {"reranked": true, ...} or {"reranked": false, "reason": ...}. If the deadline came before all hits were scored,
        ``scored`` counts the scored hits; the other hits follow in first-stage order.

    Raises:
        ConfigError: an option is invalid, or two options contradict each other.
        SlimrankError: the reranker failed; only with on_failure="raise".
    """
    options = Options(query, fields, template, rank_window_size, highlight, explain, instruction)
    plan = plan_search(dict(body), options)
    response = client.search(index=index, body=plan.body)
    if inspect.isawaitable(response):
        return _finish_later(response, plan, scorer, instruction, on_failure)
    return _finish_now(response, plan, scorer, instruction, on_failure)


async def _finish_later(
    response: Awaitable[Any], plan: RerankPlan, scorer: AnyScorer, instruction: str | None, on_failure: str
) -> Json:
    answer = await response
    # the scorer blocks, so it runs in a thread and the caller's event loop stays free
    return await asyncio.to_thread(_finish_now, answer, plan, scorer, instruction, on_failure)


def _finish_now(response: Any, plan: RerankPlan, scorer: AnyScorer, instruction: str | None, on_failure: str) -> Json:
    answer: Json = dict(getattr(response, "body", response))  # elasticsearch-py wraps it
    if plan.reason:
        return {**answer, "slimrank": {"reranked": False, "reason": plan.reason}}
    documents = documents_of(plan, answer)
    if not documents:
        return finish(plan, answer, None, reason="the first stage found nothing")
    if not any(documents):
        return finish(plan, answer, None, reason=f"the fields {', '.join(plan.template.fields)} are empty in every hit")
    try:
        return finish(plan, answer, _score(plan, scorer, documents, instruction))
    except SlimrankError as error:
        if on_failure == "raise":
            raise
        log.warning("rerank failed, first stage answered: error=%s hits=%d", error, len(documents))
        return finish(plan, answer, None, reason=str(error))


def _score(plan: RerankPlan, scorer: AnyScorer, documents: Sequence[str], instruction: str | None) -> Scored:
    """Return the scores of the window. A gateway has deadlines, so its scores are kept and used for every page of a search.

    Raises:
        SlimrankError: the scorer failed, or it failed for an earlier page of this search.
    """
    known = gateway_at(scorer) if isinstance(scorer, str) else scorer
    if not isinstance(known, GatewayScorer):
        return score_hits(known, plan.query, documents, instruction=instruction)
    key = window_key(plan.query, documents, instruction)
    with known.windows.turn(key):
        scored = known.windows.find(key, is_first_page=plan.start == 0)
        if scored is not None:
            return scored
        try:
            scored = score_hits(known, plan.query, documents, instruction=instruction)
        except SlimrankError:
            known.windows.keep(key, None)
            raise
        known.windows.keep(key, scored)
        return scored
