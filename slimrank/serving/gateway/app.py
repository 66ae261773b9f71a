"""The HTTP gateway: bodies in, answers out, nothing scored here.

Flow: ``bodies.read_object`` -> ``schemas.parse`` -> a ``Backend`` -> ``answers.body_of``. The app is the same over a model
in this process and over a queue; it imports no torch and, over a queue, no onnxruntime.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from slimrank import __version__
from slimrank.engine.jobs import Answer, Job
from slimrank.errors import InvalidRequest, SlimrankError
from slimrank.serving import traces
from slimrank.serving.admission import units_of
from slimrank.serving.gateway import answers, browsers, listing, schemas
from slimrank.serving.gateway.bodies import read_object
from slimrank.serving.gateway.failures import Failure, failure_of
from slimrank.serving.gateway.formats.call import RerankCall
from slimrank.serving.gateway.intake import Held, Intake
from slimrank.serving.gateway.json_numbers import to_json
from slimrank.serving.gateway.keys import KeyEntry, KeyRing, check_grant
from slimrank.serving.gateway.openapi import describe
from slimrank.serving.guarded import GuardedBackend
from slimrank.serving.metrics import CONTENT_TYPE, Metrics
from slimrank.settings import Settings

log = logging.getLogger(__name__)
Result = TypeVar("Result")

READY_SECONDS = 1.0
LONG_BYTES = 2**16
"""A longer body is parsed in a thread, so that other requests are answered meanwhile; a shorter one takes no longer than that."""
DEADLINE_HEADER = "x-slimrank-deadline-ms"
PARTIAL_HEADER = "x-slimrank-partial"
RERANK_ROUTES = (
    *("/v1/rerank", "/v2/rerank", "/rerank"),
    *("/v1/reranking", "/v1/ranking", "/v1/score", "/score"),  # as Mixedbread, NVIDIA and vLLM call it
)


def make_gateway(settings: Settings, backend: GuardedBackend, metrics: Metrics) -> FastAPI:
    """Return the ASGI app."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.stop()
        await asyncio.to_thread(traces.flush)

    # No redirects: behind a proxy that ends TLS they lead to another scheme. A slash too much changes nothing.
    app = FastAPI(title="slimrank", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    gateway = _Gateway(settings, backend, metrics)
    posts = dict.fromkeys(RERANK_ROUTES, gateway.rerank)
    gets = {
        "/healthz": gateway.healthz,
        "/readyz": gateway.readyz,
        "/metrics": gateway.metrics,
        "/info": gateway.info,
        "/v1/models": gateway.models,
        "/v1/models/{name:path}": gateway.model,
    }
    for method, routes in (("POST", posts), ("GET", gets)):
        for route, answer in routes.items():
            for path in (route, route + "/"):
                app.add_route(path, answer, methods=[method])
    app.add_exception_handler(HTTPException, _unknown_route)
    if settings.api_keys_file is None:
        app.add_middleware(_BrowserGuard, listens_on=settings.host)
    app.openapi = lambda: describe(RERANK_ROUTES)  # type: ignore[method-assign]
    return app


class _BrowserGuard:
    """Refuses what a page of another site could have sent, where no key stands in its way."""

    def __init__(self, app: ASGIApp, listens_on: str) -> None:
        self._app, self._listens_on = app, listens_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            refused = browsers.objection(scope["method"], Headers(scope=scope), listens_on=self._listens_on)
            if refused is not None:
                status, reason = refused
                app = _refusal(InvalidRequest(reason, status=status), str(uuid.uuid4()))
        await app(scope, receive, send)


class _Gateway:
    def __init__(self, settings: Settings, backend: GuardedBackend, metrics: Metrics) -> None:
        self._settings = settings
        self._backend = backend
        self._metrics = metrics
        self._keys = KeyRing(settings.api_keys_file)
        self._intake = Intake(settings.max_body_bytes, settings.max_bodies_bytes)
        self._ready: tuple[float, Response] | None = None
        self._readying = asyncio.Lock()
        self._since = int(time.time())

    async def rerank(self, request: Request) -> Response:
        """Answer a rerank request, or say why not, in the caller's own wire format."""
        begin, request_id = time.monotonic(), str(uuid.uuid4())
        with traces.request(request.headers) as attributes, self._intake.hold() as held:
            response = await self._answer(request, held, request_id, begin)
            attributes["http.response.status_code"] = response.status_code
        self._metrics.count_request(response.status_code, time.monotonic() - begin)
        return response

    async def _answer(self, request: Request, held: Held, request_id: str, begin: float) -> Response:
        call: RerankCall | None = None
        try:
            key = self._keys.admit(request.headers.get("authorization"))
            body, most = await self._intake.read(request, held), self._settings.max_documents
            is_long = len(body) > LONG_BYTES
            fields = await _done(is_long, lambda: read_object(body, max_documents=most))
            body = b""  # not held while the documents are scored
            call = await _done(is_long, lambda: schemas.parse(fields, max_documents=most))
            if key is not None:
                check_grant(key, self._backend.choose_model(call.job.model))
                self._keys.charge(key, units_of(call.job))
            left_seconds = deadline_seconds(request.headers, call, self._settings) - (time.monotonic() - begin)
            job = _asked_by(request, key, replace(call.job_by_rank(), takes_partial=takes_partial(request.headers, call)))
            answer = await _unless_gone(request, self._backend.score(job, timeout_seconds=max(0.0, left_seconds)))
            if answer.is_partial:
                count, scored = len(job.request.documents), answer.scored.depth
                log.warning(
                    "partial id=%s scored=%s documents=%d after_seconds=%.3f", request_id, scored, count, time.monotonic() - begin
                )
            return _json(answers.body_of(call, answer, request_id=request_id), headers=_marks(answer, begin))
        except ClientDisconnect:
            log.info("left id=%s after_seconds=%.3f", request_id, time.monotonic() - begin)
            return Response(status_code=499)
        except Exception as error:
            if call is None or call.on_failure == "error" or isinstance(error, InvalidRequest):
                return _refusal(error, request_id)
            return self._first_stage(call, error, request_id)

    def _first_stage(self, call: RerankCall, error: Exception, request_id: str) -> Response:
        """Answer with the order given, and leave marks: a header, a counter, a log line, scores of a band of their own."""
        reason = failure_of(error).kind
        self._metrics.count_degraded(reason)
        _log_failure(error, request_id)
        body = answers.first_stage_body(call, reason, request_id=request_id)
        return _json(body, headers={"x-slimrank-degraded": reason})

    async def healthz(self, _: Request) -> Response:
        """Say that this process answers, and that none of its background loops fails."""
        if failing := self._backend.failing():
            return _json({"status": "failing", "loops": failing, "version": __version__}, status=503)
        return _json({"status": "ok", "version": __version__})

    async def readyz(self, _: Request) -> Response:
        """Score one pair; ready is who can. Asked often, it scores once a second, so that it is no way in for a flood."""
        async with self._readying:
            if self._ready is None or time.monotonic() - self._ready[0] > READY_SECONDS:
                self._ready = (time.monotonic(), await self._probe())
            return self._ready[1]

    async def _probe(self) -> Response:
        try:
            answer = await self._backend.probe()
        except Exception as error:
            return _refusal(error, str(uuid.uuid4()))
        return _json({"status": "ready", "model": answer.model.name})

    async def info(self, request: Request) -> Response:
        """Say what is served, as Text Embeddings Inference does."""

        def about(name: str) -> dict[str, Any]:
            return listing.info(name, self._settings, document_tokens=self._backend.document_tokens(name))

        return self._about(request, None, about)

    async def model(self, request: Request) -> Response:
        """Describe the model that would answer to a name."""
        asked = request.path_params["name"].rstrip("/")
        return self._about(request, asked, lambda name: listing.model(name, since=self._since))

    def _about(self, request: Request, asked: str | None, describe: Callable[[str], Any]) -> Response:
        try:
            key, name = self._keys.admit(request.headers.get("authorization")), self._backend.choose_model(asked)
            if key is not None:
                check_grant(key, name)
            return _json(describe(name))
        except Exception as error:
            return _refusal(error, str(uuid.uuid4()))

    async def models(self, request: Request) -> Response:
        """List the models that the caller may ask for."""
        try:
            key = self._keys.admit(request.headers.get("authorization"))
            names = [name for name in self._backend.models() if key is None or key.models is None or name in key.models]
            return _json(listing.models(names, since=self._since))
        except Exception as error:
            return _refusal(error, str(uuid.uuid4()))

    async def metrics(self, _: Request) -> Response:
        """Show the metrics to Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


def _asked_by(request: Request, key: KeyEntry | None, job: Job) -> Job:
    """Say who asks: callers take turns at the model, and a key learns from no timing or count what another has had scored."""
    if key is not None:
        return replace(job, caller=key.name, scope=key.name)
    return replace(job, caller=request.client.host if request.client else "")


def deadline_seconds(headers: Mapping[str, str], call: RerankCall, settings: Settings) -> float:
    """Return the time that a call has from its arrival: the least of header, field and setting.

    Raises:
        InvalidRequest: the header is not a number of milliseconds.
    """
    limits = [settings.timeout_seconds]
    if call.deadline_ms is not None:
        limits.append(call.deadline_ms / 1000)
    if (header := headers.get(DEADLINE_HEADER)) is not None:
        if not (header.isascii() and header.isdigit() and len(header) < 10 and int(header) > 0):
            raise InvalidRequest(
                f"{DEADLINE_HEADER} should be milliseconds, a whole number above 0, found {header[:40]!r}", status=422
            )
        limits.append(int(header) / 1000)
    return min(limits)


def takes_partial(headers: Mapping[str, str], call: RerankCall) -> bool:
    """Return whether a partial answer is allowed: if the caller set a deadline, or would accept an answer without scores."""
    has_deadline = call.deadline_ms is not None or DEADLINE_HEADER in headers
    return call.job.priority == "query" and (has_deadline or call.on_failure == "first_stage")


async def _done(is_long: bool, work: Callable[[], Result]) -> Result:
    return await asyncio.to_thread(work) if is_long else work()


async def _unless_gone(request: Request, scoring: Awaitable[Answer]) -> Answer:
    """Await the answer; take the job back if the caller hangs up first.

    Raises:
        ClientDisconnect: the caller hung up.
    """
    answer = asyncio.ensure_future(scoring)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        gone.cancel()
        answer.cancel()


def _refusal(error: Exception, request_id: str) -> Response:
    failure = failure_of(error)
    _log_failure(error, request_id)
    headers = {}
    if failure.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, round(failure.retry_after_seconds)))
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status in (401, 408, 413):
        headers["connection"] = "close"  # what is still being sent is not read
    return _json(answers.error_body(failure, request_id=request_id), status=failure.status, headers=headers)


def _log_failure(error: Exception, request_id: str) -> None:
    if not isinstance(error, SlimrankError):
        log.error("failed id=%s", request_id, exc_info=error)
    elif not isinstance(error, InvalidRequest):
        log.warning("refused id=%s kind=%s reason=%s", request_id, type(error).__name__, failure_of(error).message)


def _unknown_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: f"there is no such path; POST to {RERANK_ROUTES[0]}", 405: "this path takes another method"}
    failure = Failure(status, "invalid_request", words.get(status, "the request cannot be answered"))
    headers = dict(getattr(error, "headers", None) or {})  # `allow`
    body = answers.error_body(failure, request_id=str(uuid.uuid4()))
    return _json(body, status=status, headers=headers)


def _marks(answer: Answer, begin: float) -> dict[str, str]:
    """Return the headers of an answer: where its time went, and how many documents were scored if not all were."""
    marks = {
        "x-queue-time": f"{answer.queue_seconds * 1000:.0f}",
        "x-inference-time": f"{answer.infer_seconds * 1000:.0f}",
        "x-total-time": f"{(time.monotonic() - begin) * 1000:.0f}",
    }
    if answer.is_partial:
        marks[PARTIAL_HEADER] = str(answer.scored.depth)
    return marks


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status_code=status, media_type="application/json", headers=headers)
