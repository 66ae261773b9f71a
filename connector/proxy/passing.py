"""Pass a request through: the caller's bytes to the engine, the engine's bytes to the caller, neither held back."""

from collections.abc import AsyncIterator

import httpx

from connector.proxy.exchange import MARK, Exchange, Headers, end_to_end, header, mark
from connector.proxy.upstream import BROKEN, Upstream, explain


def passed_headers(exchange: Exchange, body: bytes | None) -> Headers:
    """Return the headers to send; `body` is given where it is not the caller's own."""
    if body is not None:
        headers = end_to_end(exchange.headers, without=(b"host", b"expect", b"content-length", b"content-encoding"))
        return [*headers, (b"content-length", str(len(body)).encode())]
    is_chunked = bool(header(exchange.headers, b"transfer-encoding"))
    headers = end_to_end(exchange.headers, without=(b"host", b"expect", *([b"content-length"] if is_chunked else [])))
    return [*headers, (b"transfer-encoding", b"chunked")] if is_chunked else headers


async def pass_on(
    upstream: Upstream, exchange: Exchange, reason: str, *, own: bytes | None = None, outcome: str = "passed"
) -> None:
    """Send the request as it came and stream the answer back.

    Args:
        reason: why nothing was reranked.
        own: the body to send in place of the caller's, where `ext.slimrank` was taken out of it.

    Raises:
        EngineUnavailable: no answer, or it broke off.
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
    """Return the headers to answer with; only the proxy says `x-slimrank`."""
    return [*end_to_end(response.headers.raw, without=(MARK,)), said]
