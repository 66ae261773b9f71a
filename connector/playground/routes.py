"""The playground's routes: the page, its assets, facts about the source, and a search as a stream of events.

A search answers one JSON line when the first stage is ready and one when the model is done, so the page shows hits while the
model scores them. Either line may be ``failed``. If the model fails or is late, the page keeps the first stage, with a mark.

The app can be mounted at any path, because every URL in the page is relative:

    app.mount("/playground", make_playground(service))
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.playground import wire
from connector.playground.audits import list_audits, page_of
from connector.playground.documents import MAX_BYTES, MAX_DOCUMENTS, read_documents
from connector.playground.policy import NOT_ALLOWED, Policy
from connector.playground.rankers import Ranker
from connector.playground.sources import CorpusSource, EngineSource, Source
from slimrank.errors import DataError, EngineError, InvalidRequest, SlimrankError
from slimrank.serving.gateway.browsers import is_same_origin
from slimrank.serving.gateway.failures import failure_of

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_BODY_BYTES = 4 * 2**20
"""The limit of a request body: documents as JSON are larger than the text that they were read from."""
WRONG_NAME = "this playground listens on a loopback address and only answers requests to localhost; use --host for another name"
DEFAULT_SECONDS = 60.0
MAX_EXAMPLES = 500
"""The number of a collection's queries that the page gets; a collection may have a million."""

HEADERS = {
    # Only our own files run, and no script can turn text into markup (Trusted Types).
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}

# A sandbox without allow-same-origin: the content of an audit's report cannot call this server or read stored data.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and its judged documents; there are none if the collection has no judgments."""

    query_id: str
    text: str
    relevances: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Playground:
    """The parts behind the page.

    Attributes:
        is_trained: Whether the model was trained to judge relevance; None if this is unknown.
        judged: Queries of ``source``, with judgments if there are any; the page offers them as examples.
        audits: A folder of audit folders, which ``/audits`` shows.
    """

    source: Source
    ranker: Ranker
    policy: Policy
    judged: Sequence[JudgedQuery] = ()
    is_trained: bool | None = None
    timeout_seconds: float = DEFAULT_SECONDS
    audits: Path | None = None

    def known(self, call: wire.SearchCall) -> JudgedQuery | None:
        """Return the source's query that equals the call's query; None if the visitor searches their own documents or index."""
        return None if call.is_own else next((query for query in self.judged if query.text == call.query), None)


def make_playground(playground: Playground) -> Starlette:
    """Return the page as an ASGI app; the caller has to start and stop the ranker."""
    routes = _Routes(playground)
    return Starlette(
        routes=[
            Route("/", routes.page),
            Route("/static/{name}", routes.asset),
            Route("/api/about", routes.about),
            Route("/api/search", routes.search, methods=["POST"]),
            Route("/api/documents", routes.documents, methods=["POST"]),
            Route("/api/index", routes.index, methods=["POST"]),
            Route("/audits", routes.audits_page),
            Route("/audits/{name}", routes.audit_report),
            Route("/api/audits", routes.audits),
            Route("/healthz", routes.healthz),
        ],
        middleware=[Middleware(_Guard, policy=playground.policy)],
        exception_handlers={InvalidRequest: _invalid, DataError: _invalid, EngineError: _invalid},
    )


class _Guard:
    """Adds the security headers to every answer, and refuses requests to another host name."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in known]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        app = self._app
        if scope["type"] == "http" and not self._policy.is_our_name(Headers(scope=scope)):
            app = _refused(421, "invalid_request", WRONG_NAME)
        await app(scope, receive, send_with_headers)


class _Routes:
    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        self._assets = StaticFiles(directory=STATIC)
        self._indexing = asyncio.Lock()

    async def page(self, _: Request) -> Response:
        """Return the page."""
        return FileResponse(STATIC / "index.html")

    async def asset(self, request: Request) -> Response:
        """Return a script or the style sheet."""
        return await self._assets.get_response(request.path_params["name"], request.scope)

    async def healthz(self, _: Request) -> Response:
        """Report that this process answers."""
        return JSONResponse({"status": "ok"})

    async def audits_page(self, _: Request) -> Response:
        """Return the page that lists the audits."""
        return FileResponse(STATIC / "audits.html")

    async def audits(self, _: Request) -> Response:
        """List the audits."""
        root = self._playground.audits
        return JSONResponse([asdict(audit) for audit in await asyncio.to_thread(list_audits, root)] if root else [])

    async def audit_report(self, request: Request) -> Response:
        """Return an audit's report; it has its own scripts, so it is isolated from our pages."""
        root = self._playground.audits
        page = page_of(root, request.path_params["name"]) if root else None
        if page is None:
            return _refused(404, "invalid_request", "there is no such report; see the list of audits")
        return FileResponse(page, headers={"content-security-policy": REPORT_POLICY})

    async def about(self, request: Request) -> Response:
        """Return what is searched and what this visitor may do."""
        may_name_index = self._allows_own_index(request)
        return JSONResponse(
            {
                "source": self._playground.source.label,
                "is_trained": self._playground.is_trained,
                "max_depth": wire.MAX_DEPTH,
                "longest_seconds": self._playground.timeout_seconds,
                "fusion_weight": await self._playground.ranker.fusion_weight(),
                "examples": [query.text for query in self._playground.judged[:MAX_EXAMPLES]],
                "has_judgments": any(query.relevances for query in self._playground.judged),
                "has_audits": self._playground.audits is not None,
                "own_index": {"is_allowed": may_name_index, "reason": None if may_name_index else NOT_ALLOWED},
                "own_documents": {"most": MAX_DOCUMENTS, "most_bytes": MAX_BYTES},
            }
        )

    async def documents(self, request: Request) -> Response:
        """Return the documents in a visitor's text; the server does not keep them."""
        brought = wire.parse(wire.OwnText, await _body(request))
        if len(brought.text.encode()) > MAX_BYTES:
            raise InvalidRequest(
                f"the text is larger than {MAX_BYTES // 2**20} MB; start the playground with --data FILE", status=413
            )
        return JSONResponse(wire.documents_answer(await asyncio.to_thread(read_documents, brought.text, brought.name)))

    async def index(self, request: Request) -> Response:
        """Check that the index that a visitor names can be searched."""
        named = wire.parse(wire.OwnIndex, await _body(request))
        self._refuse_own_index(request)
        await EngineSource(named.address()).check()
        return JSONResponse({"status": "ok"})

    async def search(self, request: Request) -> Response:
        """Search and rerank, and answer a stream of events; errors before the stream begins have an HTTP status."""
        call = wire.parse(wire.SearchCall, await _body(request))
        return StreamingResponse(self._events(call, await self._source(call, request)), media_type="application/x-ndjson")

    def _allows_own_index(self, request: Request) -> bool:
        client = request.client.host if request.client else None
        return self._playground.policy.may_name_index(client=client, headers=request.headers)

    def _refuse_own_index(self, request: Request) -> None:
        if not self._allows_own_index(request):
            raise InvalidRequest(NOT_ALLOWED, status=403)

    async def _source(self, call: wire.SearchCall, request: Request) -> Source:
        if call.own_documents is not None:
            async with self._indexing:  # one at a time, so that the model keeps its share of the machine
                return await asyncio.to_thread(CorpusSource, call.documents(), label="own documents", fills_up=True)
        if call.own_index is None:
            return self._playground.source
        self._refuse_own_index(request)
        return EngineSource(call.own_index.address())

    async def _events(self, call: wire.SearchCall, source: Source) -> AsyncIterator[bytes]:
        try:
            found = await source.search(call.query, call.depth)
        except EngineError as error:
            yield _line(wire.failed_event("first_stage", "engine", str(error)))
            return
        except Exception:
            log.exception("search failed")
            yield _line(wire.failed_event("first_stage", "internal", "the playground failed to search; its log says more"))
            return
        known = self._playground.known(call)
        yield _line(wire.first_stage_event(call, found, known.query_id if known else None, known.relevances if known else {}))
        if found.hits:
            yield _line(await self._rerank(call, [hit.content for hit in found.hits]))

    async def _rerank(self, call: wire.SearchCall, documents: list[str]) -> dict[str, Any]:
        timeout_seconds = call.deadline_ms / 1000 if call.deadline_ms else self._playground.timeout_seconds
        try:
            return wire.reranked_event(await self._playground.ranker.rank(call.query, documents, timeout_seconds=timeout_seconds))
        except Exception as error:  # any error: the page already shows the hits of the first stage
            failure = failure_of(error)
            if not isinstance(error, SlimrankError):
                log.exception("rerank failed")
            return wire.failed_event("rerank", failure.kind, failure.message)


async def _body(request: Request) -> bytes:
    """Read a JSON body. Its content type must be JSON too, because browsers let no other site send that type without asking.

    Raises:
        InvalidRequest: the body is not JSON, is too large, or was sent by another site's page.
    """
    if not is_same_origin(request.headers):
        raise InvalidRequest("another site's page may not search here", status=403)
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise InvalidRequest("send application/json", status=415)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise InvalidRequest(f"the body is larger than {MAX_BODY_BYTES} bytes", status=413)
    return body


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _invalid(_: Request, error: Exception) -> Response:
    return _refused(error.status if isinstance(error, InvalidRequest) else 422, "invalid_request", str(error))


def _refused(status: int, kind: str, message: str) -> Response:
    return JSONResponse(wire.failed_event("first_stage", kind, message), status_code=status)
