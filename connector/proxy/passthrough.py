"""Pass a request on: stream the caller's bytes to the engine, and the engine's bytes to the caller."""

from collections.abc import AsyncIterator

import httpx

from connector.proxy.exchange import MARK, Exchange, Headers, end_to_end, header, mark
from connector.proxy.upstream import BROKEN, Upstream, explain


def passed_headers(exchange: Exchange, body: bytes | None) -> Headers:
    """Return the headers to send; ``body`` is given if it replaces the caller's body."""
    if body is not None:
        headers = end_to_end(exchange.headers, without=(b"host", b"expect", b"content-length", b"content-encoding"))
        return [*headers, (b"content-length", str(len(body)).encode())]
    is_chunked = bool(header(exchange.headers, b"transfer-encoding"))
    headers = end_to_end(exchange.headers, without=(b"host", b"expect", *([b"content-length"] if is_chunked else [])))
    return [*headers, (b"transfer-encoding", b"chunked")] if is_chunked else headers


async def pass_on(
    upstream: Upstream, exchange: Exchange, reason: str, *, own: bytes | None = None, outcome: str = "passed"
) -> None:
    """Send the request unchanged and stream the answer back.

    Args:
        reason: Why nothing was reranked.
        own: The body to send instead of the caller's, if ``ext.slimrank`` was removed from it.

    Raises:
        EngineUnavailable: there was no answer, or it broke off.
        EngineRefused: the engine wants a client certificate.
    """
    body: bytes | AsyncIterator[bytes]
    if own is not None:
        body = own
    elif exchange.has_body:
        body = exchange.body if exchange.body is not None else exchange.stream()
    else:
        body = b""
    response = await upstream.send(exchange.method, exchange.target, passed_headers(exchange, own), body)
    exchange.outcome, exchange.reason = outcome, reason
    try:
        await exchange.begin(response.status_code, answered_headers(response, mark(outcome, reason)))
        async for piece in response.stream:  # type: ignore[union-attr]
            await exchange.write(piece, more=True)
        await exchange.write(b"", more=False)
    except BROKEN as error:
        raise explain(upstream.url, error) from error
    finally:
        await response.aclose()


def answered_headers(response: httpx.Response, said: tuple[bytes, bytes]) -> Headers:
    """Return the headers of the answer; only the proxy may set ``x-slimrank``."""
    return [*end_to_end(response.headers.raw, without=(MARK,)), said]
