"""Fetch the window of a search, score it, and build the answer: the only place where engine and scorer meet.

It fails open. If something fails after the engine has answered, the caller gets the first-stage page of that answer. If the
engine refused the widened search, the caller's own search is sent instead.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import httpx

from connector.proxy.decision import Decision
from connector.proxy.exchange import Headers, end_to_end, header
from connector.proxy.pages import Pages
from connector.proxy.scorer import AsyncScorer
from connector.proxy.splice import Edit, FoundHits, find_hits, reordered
from connector.window_cache import FirstPageNotScored
from slimrank.errors import DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, SlimrankError
from slimrank.types import Scored


class Unusable(Exception):
    """The engine's answer cannot be used, so the caller's own search has to be sent; the message is the reason."""

    def __init__(self, reason: str, *, mark: str = "passed") -> None:
        super().__init__(reason)
        self.mark = mark


class NoText(SlimrankError):
    """No hit has a text to judge."""


# Refusals that do not depend on the window: the caller gets them as the answer.
_FINAL_STATUSES = frozenset({401, 403, 404, 429})
_NAMES = {
    DeadlineExceeded: "deadline",
    ModelNotReady: "no scorer",
    Overloaded: "overloaded",
    InvalidRequest: "refused by the scorer",
    NoText: "no text",
    FirstPageNotScored: "first page not reranked",
}
_NOT_FORWARDED = (b"host", b"content-length", b"content-encoding", b"accept-encoding", b"expect")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An engine's whole answer. If ``is_final``, it is sent to the caller unchanged."""

    status: int
    headers: Headers
    raw: bytes
    text: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class AnswerEdits:
    """The outcome of one search: the edits that turn the engine's answer into the caller's answer, and the mark.

    Attributes:
        scored: How many of the ``window`` hits have a score; both are 0 if the search was not reranked.
    """

    mark: str
    reason: str
    edits: Sequence[Edit] = ()
    scored: int = 0
    window: int = 0


def widened_headers(headers: Headers, body: bytes) -> Headers:
    """Return the headers for a search that the proxy writes: the body is plain, and the proxy can read the answer's encoding."""
    accepts = b"gzip" if b"gzip" in header(headers, b"accept-encoding").lower() else b"identity"
    own = [*end_to_end(headers, without=_NOT_FORWARDED), (b"accept-encoding", accepts)]
    if body:
        own.append((b"content-length", str(len(body)).encode()))
        if not header(headers, b"content-type"):
            own.append((b"content-type", b"application/json"))
    return own


async def fetch(response: httpx.Response, *, limit: int, grow: Callable[[int], None] = lambda _: None) -> Fetched:
    """Read the whole answer; the caller closes it.

    Args:
        grow: Called with the size of each piece; it may raise to refuse the piece.

    Raises:
        Unusable: the answer is longer than ``limit`` bytes, is not JSON, or is a refusal that the caller's own search may avoid.
    """
    headers = list(response.headers.raw)
    pieces, size = [], 0
    async for piece in response.stream:  # type: ignore[union-attr]
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise Unusable(f"the answer is longer than {limit} bytes")
        grow(len(piece))
    raw = b"".join(pieces)
    if response.status_code in _FINAL_STATUSES or response.status_code >= 500:
        return Fetched(response.status_code, headers, raw, "", is_final=True)
    if response.status_code != 200:
        raise Unusable(f"the engine refused the widened search with {response.status_code}")
    if b"json" not in header(headers, b"content-type").lower():
        raise Unusable("the answer is not JSON")
    text = _decode(raw, header(headers, b"content-encoding"), limit)
    if header(headers, b"content-encoding"):
        grow(len(text))
    return Fetched(200, headers, raw, text)


def _decode(raw: bytes, encoding: bytes, limit: int) -> str:
    plain = decompress(raw, encoding, limit)
    if plain is None:
        raise Unusable(f"the answer is longer than {limit} bytes, or compressed in another way than gzip")
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        raise Unusable("the answer is not UTF-8") from error


def decompress(raw: bytes, encoding: bytes, limit: int) -> bytes | None:
    """Return the plain bytes; None if they are longer than ``limit``, or compressed in another way than gzip."""
    if encoding.lower() in (b"", b"identity"):
        return raw
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        return None
    try:
        reader = zlib.decompressobj(wbits=31)
        plain = reader.decompress(raw, limit + 1)
    except zlib.error:
        return None
    return plain if len(plain) <= limit and reader.eof else None


async def judge(pages: Pages, decision: Decision, text: str, start: int = 0) -> AnswerEdits:
    """Score the hits of the answer that begins at ``start``, and return the outcome with its edits.

    Raises:
        Unusable: the answer has no hits that could be reordered.
    """
    found = _hits(text, start)
    plan = decision.plan
    first_stage = range(len(found.hits))[plan.start : plan.start + plan.size]
    added = {"fields": plan.added_fields, "highlight": plan.added_highlights}
    if not found.hits:
        return AnswerEdits("passed", "no hits")
    try:
        scored = await _score(pages, decision, found)
    except SlimrankError as error:
        reason = f"{_NAMES.get(type(error), 'the scorer failed')}: {error}"
        if plan.depends_on_size:
            raise Unusable(reason, mark="degraded") from error
        return AnswerEdits("degraded", reason, reordered(text, found, first_stage, None, added))
    scores = _scores(scored)
    depth = len(scores) if scored.depth is None else scored.depth
    page = _order(scores, len(found.hits))[plan.start : plan.start + plan.size]
    edits = reordered(text, found, page, scores, added, shows_first_stage=decision.shows_first_stage)
    partial = "" if depth == len(scores) else f": {depth} of {len(scores)} hits scored in time"
    return AnswerEdits("reranked", f"rule {decision.rule}{partial}", edits, depth, len(scores))


def _hits(text: str, start: int) -> FoundHits:
    try:
        found = find_hits(text, start)
    except ValueError as error:
        raise Unusable("the answer is not JSON") from error
    if found is None:
        raise Unusable("the answer has no hits")
    return found


async def _score(pages: Pages, decision: Decision, found: FoundHits) -> Scored:
    plan, how = decision.plan, decision.how
    documents = [plan.template.render(hit.value) for hit in found.hits[: plan.window]]
    if not any(document.strip() for document in documents):
        raise NoText("the fields hold no text in any hit")
    return await pages.score(
        plan.query,
        documents,
        instruction=how.instruction,
        timeout_seconds=how.deadline_ms / 1000,
        is_first_page=plan.start == 0,
        part=how.part,
    )


def _scores(scored: Scored) -> list[float]:
    return [float(score) for score in scored.scores]


def encoded(text: str, like: Headers) -> tuple[bytes, Headers]:
    """Return the body of an answer, compressed if the engine's answer was, and its headers."""
    headers = end_to_end(like, without=(b"content-length",))
    body = text.encode()
    return (gzip.compress(body, 1) if header(headers, b"content-encoding") else body), headers


@dataclass(frozen=True, slots=True)
class Moves:
    """How reranking would have changed the first ten hits."""

    hits: int
    first_stage: Sequence[str]
    reranked: Sequence[str]
    moved: int
    entered: int
    is_first_changed: bool

    def as_json(self) -> dict[str, object]:
        """Return the moves as JSON."""
        return asdict(self)


async def compare(scorer: AsyncScorer, decision: Decision, text: str) -> Moves | None:
    """Return how reranking would have changed the first ten hits; None if there are no hits.

    Raises:
        SlimrankError: the scorer failed.
        Unusable: the answer has no hits that could be reordered.
    """
    found = _hits(text, 0)
    if not found.hits:
        return None
    scores = _scores(await _score(Pages(scorer), decision, found))
    order = _order(scores, len(scores))[:10]
    ids = [str(hit.value.get("_id")) for hit in found.hits]
    return Moves(
        hits=len(scores),
        first_stage=ids[: len(order)],
        reranked=[ids[place] for place in order],
        moved=sum(place != index for index, place in enumerate(order)),
        entered=sum(place >= len(order) for place in order),
        is_first_changed=order[0] != 0,
    )


def _order(scores: Sequence[float], count: int) -> list[int]:
    """Return the places of ``count`` hits: scored hits best first, ties and all other hits in first-stage order."""
    return sorted(range(len(scores)), key=lambda place: -scores[place]) + list(range(len(scores), count))
