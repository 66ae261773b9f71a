"""Rerank on the caller's side: search with opensearch-py or elasticsearch-py, reorder, return the engine's answer.

Needs nothing installed in the cluster and no licence. If the reranker fails the answer is the first stage's, marked; an
error of the engine itself is the client library's own and passes through.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, Protocol, overload

from connector.gateway import GatewayScorer, gateway_at
from connector.rerank_plan import DEFAULT_WINDOW, Options, RerankPlan, documents_of, finish, plan_search
from connector.scorers import AnyScorer, score_hits
from connector.windows import window_key
from slimrank.errors import SlimrankError
from slimrank.types import Scored

Json = dict[str, Any]
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
    """Search, rerank the first hits, and return the engine's answer with the page asked for.

    Example:
        answer = rerank_search(client, "products", {"query": {"match": {"title": "red shoes"}}},
                               scorer="http://localhost:8080", fields=["title", "bullets"])

    Args:
        client: sync, or async, and then the result is to be awaited.
        body: the search as ever; `from` and `size` page through the reranked window.
        scorer: a gateway's URL, a loaded `slimrank.Reranker`, or a Scorer.
        query: the text to judge by; left out, the one that the body searches for.
        fields: what a document is made of; left out, the fields searched in.
        template: words around fields instead, such as "{title}: {body}".
        rank_window_size: how many first-stage hits are reranked.
        highlight: judge the engine's best fragments of the fields, for long ones; all of a field that the body itself
            highlights.
        explain: put on each hit, under `_slimrank`, its ranks, probability and document.
        instruction: how to judge, such as "prefer recent manuals".
        on_failure: "raise" lets the reranker's error through.

    Returns:
        The engine's answer as a dictionary. A reranked hit has its score in `_score`, and `_first_stage_score` and
        `_first_stage_rank` (from 1); hits behind the window keep the engine's score. `slimrank` is
        {"reranked": true, ...} or {"reranked": false, "reason": ...}; `scored` is there where a deadline came before all
        hits were scored, and the others follow in their order.

    Raises:
        ConfigError: the options make no sense.
        SlimrankError: the reranker failed, with on_failure="raise" only.
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
    # scorers block; the caller's event loop goes on
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
    """Return the scores of the window: of a gateway, which has deadlines, the same for every page of a search.

    Raises:
        SlimrankError: no scores can be had, or the page before had none.
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
