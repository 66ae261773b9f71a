"""Answer ``_search`` and ``_msearch``: decide, fetch the window from the engine, score, and answer the requested page.

If there is an obstacle or a failure, the caller's request is sent to the engine instead, and the answer holds the reason.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from connector.proxy.capacity import Place, Room
from connector.proxy.decision import (
    Decision,
    Params,
    Target,
    decide,
    params_of,
    target_for,
    widened_body,
    widened_line,
    widened_params,
)
from connector.proxy.exchange import MARK, SCORED, Exchange, Headers, end_to_end, header, mark
from connector.proxy.metrics import Metrics
from connector.proxy.pages import Pages
from connector.proxy.passthrough import pass_on
from connector.proxy.rules import Rules
from connector.proxy.scorer import AsyncScorer
from connector.proxy.shadow import Shadow
from connector.proxy.splice import apply, elements, seek
from connector.proxy.upstream import BROKEN, Upstream, explain
from connector.proxy.window import AnswerEdits, Fetched, Unusable, decompress, encoded, fetch, judge, widened_headers

log = logging.getLogger(__name__)

WINDOW_SECONDS = 30.0
"""The longest time from the head to the end of an engine's answer, if the answer is a window."""
Editor = Callable[[str], Awaitable[list[AnswerEdits]]]
"""Takes an engine's answer, and returns the outcome of each search in it."""


@dataclass(slots=True)
class Parts:
    """The parts and the limits of a proxy.

    Attributes:
        max_request_bytes: Longer searches are streamed to the engine without reading them.
        max_window_bytes: A longer answer is not reranked; no more of one search is ever held in memory.
        max_windows_bytes: The limit for all windows in memory together. A search that would exceed it is passed on.
        max_running: How many searches are reranked at the same time, counted from the head of the engine's answer; further
            searches are passed on.
    """

    upstream: Upstream
    scorer: AsyncScorer
    rules: Rules
    metrics: Metrics
    shadow: Shadow
    max_request_bytes: int = 2**20
    max_window_bytes: int = 16 * 2**20
    max_windows_bytes: int = 48 * 2**20
    max_running: int = 32
    pages: Pages = field(init=False)
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        """Make the parts that are shared: the scores by all pages of a search, the room by all searches."""
        self.pages = Pages(self.scorer)
        self.room = Room(self.max_running, self.max_windows_bytes)


def reason_of_headers(headers: Headers) -> str:
    """Return why a search with these headers cannot be read or rewritten; "" if it can."""
    content_type, accept = header(headers, b"content-type").lower(), header(headers, b"accept").lower()
    if content_type and b"json" not in content_type:
        return "the body is not JSON"
    if accept and not any(kind in accept for kind in (b"json", b"*/*", b"application/*")):
        return "the answer is not JSON"
    if header(headers, b"authorization").startswith(b"AWS4-"):
        return "the request is signed"
    return ""


async def answer(parts: Parts, exchange: Exchange, target: Target, raw: bytes) -> None:
    """Answer a search; its body has been read.

    Raises:
        EngineUnavailable: the engine does not answer.
        EngineRefused: the engine wants a client certificate.
    """
    body = decompress(raw, header(exchange.headers, b"content-encoding"), parts.max_request_bytes)
    if body is None:
        reason = "the request is compressed in another way than gzip, or too long"
        return await pass_on(parts.upstream, exchange, reason)
    params = params_of(exchange.query_string)
    if target.many:
        return await _answer_many(parts, exchange, target, params, body)
    decision = decide(parts.rules, target.indices, params, body)
    if decision.reason:
        return await pass_on(parts.upstream, exchange, decision.reason, own=decision.body)
    if decision.shadow:
        await pass_on(parts.upstream, exchange, f"shadow of rule {decision.rule}", own=decision.body)
        return _try_in_shadow(parts, exchange, decision, target.indices, params, body)
    path = exchange.path + b"?" + widened_params(params, decision.plan).encode()

    async def edit(text: str) -> list[AnswerEdits]:
        return [await judge(parts.pages, decision, text)]

    return await _rerank(parts, exchange, path, widened_body(body, decision), decision.body, edit)


async def _rerank(parts: Parts, exchange: Exchange, path: bytes, body: bytes, own: bytes | None, edit: Editor) -> None:
    """Send the widened search, edit its answer and return it; if that fails, pass the caller's search on."""
    try:
        parts.room.check()  # before the engine works for nothing
        response = await parts.upstream.send(exchange.method, path, widened_headers(exchange.headers, body), body)
        async with _placed(parts, response) as place:  # waiting for a slow engine occupies no place
            fetched = await _read(parts, response, place)
            outcomes = [] if fetched.is_final else await edit(fetched.text)
    except Unusable as error:
        return await pass_on(parts.upstream, exchange, str(error), own=own, outcome=error.mark)
    await _give_back(parts, exchange, fetched, outcomes)


@asynccontextmanager
async def _placed(parts: Parts, response: httpx.Response) -> AsyncIterator[Place]:
    try:
        with parts.room.place() as place:
            yield place
    finally:
        await response.aclose()


async def _give_back(parts: Parts, exchange: Exchange, fetched: Fetched, outcomes: list[AnswerEdits]) -> None:
    outcome = summary(outcomes) if outcomes else AnswerEdits("passed", f"the engine answered {fetched.status}")
    edits = [change for each in outcomes for change in each.edits]
    content, headers = encoded(apply(fetched.text, edits), fetched.headers) if edits else (fetched.raw, fetched.headers)
    if outcome.mark == "degraded":
        log.warning("degraded reason=%s", outcome.reason)
    for each in outcomes:
        if each.scored < each.window:
            parts.metrics.count_partial(each.reason)
            log.warning("partial reason=%s", each.reason)
    exchange.outcome, exchange.reason = outcome.mark, outcome.reason
    kept = end_to_end(headers, without=(MARK, SCORED, b"content-length"))
    await exchange.answer(fetched.status, [*kept, mark(outcome.mark, outcome.reason), *_scored(outcomes)], content)


def _scored(outcomes: list[AnswerEdits]) -> Headers:
    """Return the header that says how many of the window's hits were scored, with one entry for each search."""
    entries = [f"{each.scored}/{each.window}" if each.window else "-" for each in outcomes]
    return [(SCORED, ", ".join(entries).encode())] if any(each.window for each in outcomes) else []


async def _fetch(parts: Parts, method: str, path: bytes, headers: Headers, body: bytes) -> Fetched:
    response = await parts.upstream.send(method, path, headers, body)
    async with _placed(parts, response) as place:
        return await _read(parts, response, place)


async def _read(parts: Parts, response: httpx.Response, place: Place) -> Fetched:
    try:
        async with asyncio.timeout(WINDOW_SECONDS):
            return await fetch(response, limit=parts.max_window_bytes, grow=place.grow)
    except TimeoutError as error:
        raise Unusable("the window did not arrive in time", mark="degraded") from error
    except BROKEN as error:
        raise explain(parts.upstream.url, error) from error


def _try_in_shadow(parts: Parts, exchange: Exchange, decision: Decision, indices: str, params: Params, body: bytes) -> None:
    path = target_for(indices) + b"?" + widened_params(params, decision.plan).encode()
    content = widened_body(body, decision)
    headers = [
        (name, value.replace(b"x-ndjson", b"json") if name.lower() == b"content-type" else value)
        for name, value in widened_headers(exchange.headers, content)
    ]
    method = "POST" if content else "GET"
    parts.shadow.start(decision, indices, parts.scorer, lambda: _fetch(parts, method, path, headers, content))


# -- many searches in one request --------------------------------------------------------------------------------------


async def _answer_many(parts: Parts, exchange: Exchange, target: Target, params: Params, body: bytes) -> None:
    lines = body.removesuffix(b"\n").split(b"\n")
    if len(lines) % 2:
        return await pass_on(parts.upstream, exchange, "the body is not pairs of lines")
    shared = [(name, value) for name, value in params if name in ("filter_path", "format")]
    searches = [
        (indices := _indices_of(header_line, target), decide(parts.rules, indices, shared, search))
        for header_line, search in zip(lines[::2], lines[1::2], strict=True)
    ]
    decisions = [decision for _, decision in searches]
    plain = [search if decision.body is None else decision.body for search, decision in zip(lines[1::2], decisions, strict=True)]
    own = _joined(lines, plain) if any(decision.body is not None for decision in decisions) else None
    active = [not decision.reason and not decision.shadow for decision in decisions]
    if not any(active):
        reason = next((decision.reason for decision in decisions if decision.reason), "shadow")
        await pass_on(parts.upstream, exchange, reason, own=own)
    else:
        widened = [
            widened_line(search, decision) if is_active else search
            for search, decision, is_active in zip(plain, decisions, active, strict=True)
        ]

        async def edit(text: str) -> list[AnswerEdits]:
            return await _judge_many(parts.pages, decisions, active, text)

        await _rerank(parts, exchange, exchange.target, _joined(lines, widened), own, edit)
    for (indices, decision), search in zip(searches, lines[1::2], strict=True):
        if decision.shadow and not decision.reason:
            _try_in_shadow(parts, exchange, decision, indices, [], search)
    return None


def _joined(lines: list[bytes], searches: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for pair in zip(lines[::2], searches, strict=True) for line in pair)


def _indices_of(line: bytes, target: Target) -> str:
    """Return the indices that a header line names; no rule covers an unreadable line."""
    try:
        content = json.loads(line) if line.strip() else {}
        named = content.get("index", content.get("indices", target.indices))
        return ",".join(named) if isinstance(named, list) else str(named or "")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "\0"


async def _judge_many(pages: Pages, decisions: list[Decision], active: list[bool], text: str) -> list[AnswerEdits]:
    """Return the outcome of each search.

    Raises:
        Unusable: an answer is missing, or one of the widened searches was refused.
    """
    try:
        start = seek(text, 0, "responses")
        found = [(value, begin) for value, begin, _ in elements(text, start)] if start is not None else []
    except ValueError as error:
        raise Unusable("the answer is not JSON") from error
    if len(found) != len(decisions):
        raise Unusable("the answer has another number of responses")
    if any(is_active and "error" in value for (value, _), is_active in zip(found, active, strict=True)):
        raise Unusable("the engine refused a widened search")
    judged = [
        judge(pages, decision, text, begin) if is_active else _passed(decision)
        for decision, is_active, (_, begin) in zip(decisions, active, found, strict=True)
    ]
    outcomes = await asyncio.gather(*judged, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, AnswerEdits)]


async def _passed(decision: Decision) -> AnswerEdits:
    return AnswerEdits("passed", decision.reason or f"shadow of rule {decision.rule}")


def summary(outcomes: list[AnswerEdits]) -> AnswerEdits:
    """Return one mark for all searches of a request: the worst outcome of all; reranked takes precedence over passed."""
    if len(outcomes) == 1:
        return outcomes[0]
    marks = [outcome.mark for outcome in outcomes]
    worst = next(name for name in ("degraded", "reranked", "passed") if name in marks)
    reason = next(outcome.reason for outcome in outcomes if outcome.mark == worst)
    return AnswerEdits(worst, f"{reason}: {marks.count('reranked')} of {len(marks)} searches reranked")
