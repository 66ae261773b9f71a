"""The HTTP gateway: bodies in, answers out, nothing scored here.

Flow: ``schemas.parse`` -> a ``Backend`` -> ``answers.body_of``. The app is the same over a model
in this process and over a queue; it imports no torch and, over a queue, no onnxruntime.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from slimrank import __version__
from slimrank.errors import InvalidRequest, SlimrankError
from slimrank.serving import answers, schemas
from slimrank.serving.backend import Answer, Backend, Job
from slimrank.serving.failures import Failure, failure_of
from slimrank.serving.numbers import to_json
from slimrank.serving.openapi import describe
from slimrank.settings import Settings
from slimrank.types import RerankRequest

log = logging.getLogger(__name__)

RERANK_ROUTES = ("/v1/rerank", "/v2/rerank", "/rerank")
READY_SECONDS = 5.0


def make_gateway(settings: Settings, backend: Backend) -> FastAPI:
    """Return the ASGI app."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.stop()

    app = FastAPI(title="slimrank", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    gateway = _Gateway(settings, backend)
    for route in RERANK_ROUTES:
        app.add_route(route, gateway.rerank, methods=["POST"])
    app.add_route("/healthz", gateway.healthz, methods=["GET"])
    app.add_route("/readyz", gateway.readyz, methods=["GET"])
    app.add_exception_handler(HTTPException, _unknown_route)
    app.openapi = lambda: describe(RERANK_ROUTES)  # type: ignore[method-assign]
    return app


class _Gateway:
    def __init__(self, settings: Settings, backend: Backend) -> None:
        self._settings = settings
        self._backend = backend

    async def rerank(self, request: Request) -> Response:
        """Answer a rerank request, or say why not, in the caller's own wire format."""
        begin, request_id, shape = time.monotonic(), str(uuid.uuid4()), schemas.DEFAULT_SHAPE
        try:
            body = await _read_body(request, self._settings.max_body_bytes)
            shape = schemas.shape_of(body)
            call = schemas.parse(body, max_documents=self._settings.max_documents)
            answer = await _unless_gone(request, self._backend.score(call.job, timeout_seconds=self._settings.timeout_seconds))
            return _json(answers.body_of(call, answer, request_id=request_id), headers=_timings(answer, begin))
        except ClientDisconnect:
            log.info("left id=%s after_seconds=%.3f", request_id, time.monotonic() - begin)
            return Response(status_code=499)
        except Exception as error:
            return _refusal(error, shape, request_id)

    async def healthz(self, _: Request) -> Response:
        """Say that this process answers."""
        return _json({"status": "ok", "version": __version__})

    async def readyz(self, _: Request) -> Response:
        """Score one pair; ready is who can."""
        try:
            job = Job(RerankRequest("ready?", ["ready"]))
            answer = await self._backend.score(job, timeout_seconds=min(READY_SECONDS, self._settings.timeout_seconds))
        except Exception as error:
            return _refusal(error, schemas.DEFAULT_SHAPE, str(uuid.uuid4()))
        return _json({"status": "ready", "model": answer.model})


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body; refuse one that is too large before it is held, let alone parsed."""
    declared = request.headers.get("content-length", "0")
    pieces, size = [], int(declared) if declared.isdigit() else 0
    if size <= max_bytes:
        size = 0
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                break
    if size > max_bytes:
        raise InvalidRequest(
            f"the body has {size} bytes or more, and {max_bytes} are allowed; send fewer or shorter documents", status=413
        )
    return b"".join(pieces)


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


def _refusal(error: Exception, shape: schemas.Shape, request_id: str) -> Response:
    failure = failure_of(error)
    if not isinstance(error, SlimrankError):
        log.exception("failed id=%s", request_id, exc_info=error)
    elif failure.status >= 500:
        log.warning("refused id=%s status=%d reason=%s", request_id, failure.status, error)
    headers = {}
    if failure.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, round(failure.retry_after_seconds)))
    if failure.status == 413:
        headers["connection"] = "close"  # what is still being sent is not read
    return _json(answers.error_body(failure, shape=shape, request_id=request_id), status=failure.status, headers=headers)


def _unknown_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: f"there is no such path; POST to {RERANK_ROUTES[0]}", 405: "this path takes another method"}
    failure = Failure(status, "invalid_request", words.get(status, "the request cannot be answered"))
    return _json(answers.error_body(failure, shape=schemas.DEFAULT_SHAPE, request_id=str(uuid.uuid4())), status=status)


def _timings(answer: Answer, begin: float) -> dict[str, str]:
    return {
        "x-queue-time": f"{answer.queue_seconds * 1000:.0f}",
        "x-inference-time": f"{answer.infer_seconds * 1000:.0f}",
        "x-total-time": f"{(time.monotonic() - begin) * 1000:.0f}",
    }


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status_code=status, media_type="application/json", headers=headers)
