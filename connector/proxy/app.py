"""The proxy as an ASGI app: separates searches from all other requests, and marks every answer.

A request that is not a search is streamed in both directions. The proxy's own paths are ``/_slimrank/health`` and
``/_slimrank/metrics``.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable

from connector.proxy import answering
from connector.proxy.answering import Parts
from connector.proxy.decision import target_of
from connector.proxy.exchange import ClientGone, Exchange, Receive, Scope, Send, SlowBody
from connector.proxy.metrics import CONTENT_TYPE
from connector.proxy.passthrough import pass_on
from slimrank import __version__
from slimrank.errors import EngineRefused, EngineUnavailable

log = logging.getLogger(__name__)

OWN = b"/_slimrank/"
SHADOW_SECONDS = 5.0


class Proxy:
    """The ASGI app."""

    def __init__(self, parts: Parts) -> None:
        self.is_draining = False
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or handle the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._parts.scorer.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._parts.shadow.close(timeout_seconds=SHADOW_SECONDS)
        await self._parts.scorer.stop()
        await self._parts.upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, exchange: Exchange) -> None:
        begin = time.monotonic()
        try:
            if exchange.path.startswith(OWN):
                return await self._answer_own(exchange)
            await self._forward(exchange)
        except ClientGone:
            exchange.outcome, exchange.reason = "left", "the caller hung up"
        except SlowBody:
            if not exchange.has_started:
                await exchange.refuse(408, "the body of the request did not arrive in time; send it at once", "slow body")
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("no answer from the engine reason=%s", error)
            if exchange.has_started:
                return  # the server closes a connection whose answer is incomplete
            await exchange.refuse(502, str(error), "the engine does not answer")
        self._parts.metrics.count(exchange.outcome, exchange.reason, time.monotonic() - begin)

    async def _forward(self, exchange: Exchange) -> None:
        if not exchange.path.startswith(b"/") or exchange.method == "CONNECT":
            return await exchange.refuse(400, "this proxy only answers paths of its engine; send a path, not a URL", "not a path")
        target = target_of(exchange.path) if exchange.method in ("GET", "POST") else None
        if target is None:
            await _unless_gone(exchange, pass_on(self._parts.upstream, exchange, "not a search"))
            return None
        reason = answering.reason_of_headers(exchange.headers)
        limit = self._parts.max_request_bytes
        if not reason and (body := await exchange.read(limit)) is not None:
            await _unless_gone(exchange, answering.answer(self._parts, exchange, target, body))
        else:
            reason = reason or f"the request is longer than {limit} bytes"
            await _unless_gone(exchange, pass_on(self._parts.upstream, exchange, reason))
        return None

    async def _answer_own(self, exchange: Exchange) -> None:
        name = exchange.path.removeprefix(OWN)
        if name == b"metrics":
            await exchange.answer(200, [(b"content-type", CONTENT_TYPE.encode())], self._parts.metrics.text())
        elif name == b"health":
            state = "draining" if self.is_draining else "ok"
            names = [rule.name for rule in self._parts.rules.rules]
            body = {"status": state, "version": __version__, "upstream": self._parts.upstream.url, "rules": names}
            head = [(b"content-type", b"application/json")]
            await exchange.answer(503 if self.is_draining else 200, head, json.dumps(body).encode())
        else:
            await exchange.refuse(404, "the proxy's own paths are /_slimrank/health and /_slimrank/metrics", "own path")


async def _unless_gone(exchange: Exchange, work: Awaitable[None]) -> None:
    """Do the work; if the caller hangs up, cancel the work and the engine's request.

    Raises:
        ClientGone: the caller hung up first.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(exchange.gone())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
