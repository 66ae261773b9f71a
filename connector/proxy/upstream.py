"""Send requests to the search engine behind the proxy, and to no other server.

It uses httpx's transport and not its client, because a client follows redirects, keeps cookies and adds headers. All three would
be wrong between a caller and its engine. The URL is fixed at the start; only the path and the query come from a request.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from connector.proxy.exchange import Headers
from slimrank.errors import ConfigError, EngineError, EngineRefused, EngineUnavailable

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 600.0
KEEP_ALIVE_SECONDS = 5.0
ALERT_SECONDS = 1.0
# httpx translates socket errors, but not TLS errors during a read
BROKEN = (httpx.TransportError, OSError)
_NEEDS_CERTIFICATE = ("certificate required", "bad certificate", "handshake failure", "sslv3 alert")


class _Body(httpx.AsyncByteStream):
    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            yield part


class Upstream:
    """Connections to the engine at ``url``.

    Args:
        url: The engine's URL. If it has a path, requests go below that path.
        ca_file: The CA certificates to trust instead of the system's.
        verify: Whether to verify the engine's certificate.
        silent_seconds: The longest time in which the engine neither sends nor receives data.

    Raises:
        ConfigError: the URL or the file cannot be used.
    """

    def __init__(
        self, url: str, *, ca_file: Path | None = None, verify: bool = True, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"--upstream {url!r} is not a URL: {error}; give a URL such as http://localhost:9200") from error
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ConfigError(f"--upstream {url!r} names no engine; give a URL such as http://localhost:9200")
        if parts.userinfo:
            raise ConfigError("--upstream holds a password; leave it out: the proxy passes the credentials of each caller on")
        self._origin = parts.copy_with(path="/")
        self.url = str(parts).rstrip("/")
        self.base = parts.raw_path.rstrip(b"/")
        self._host = parts.netloc
        self._timeouts = {"connect": CONNECT_SECONDS, "read": silent_seconds, "write": silent_seconds}
        self._tls = _tls(ca_file, verify) if parts.scheme == "https" else None
        self._transport = httpx.AsyncHTTPTransport(
            verify=self._tls or False,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )

    async def send(self, method: str, target: bytes, headers: Headers, body: AsyncIterator[bytes] | bytes) -> httpx.Response:
        """Return the answer without its body, which the caller reads and closes.

        Args:
            target: The path and the query, below the engine's own path.
            headers: All headers except ``host``.

        Raises:
            EngineUnavailable: there was no answer.
            EngineRefused: the engine wants a client certificate.
        """
        stream = httpx.ByteStream(body) if isinstance(body, bytes) else _Body(body)
        request = httpx.Request(
            method, self._origin, headers=[(b"host", self._host), *headers], stream=stream,
            extensions={"target": self.base + target, "timeout": self._timeouts},
        )  # fmt: skip
        try:
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # The engine may just have closed a kept connection; a request that only reads can be sent again.
                if not isinstance(body, bytes) or method not in ("GET", "HEAD"):
                    raise
                return await self._transport.handle_async_request(request)
        except BROKEN as error:
            refusal = await self._refusal_of_tls()
            raise explain(self.url, refusal or error) from error

    async def _refusal_of_tls(self) -> Exception | None:
        """Return the error that a TLS engine sends to a connection without a request; None if it sends none.

        In TLS 1.3 the engine asks for a client certificate after the handshake, when the request has already been sent. So the
        connection is reset, and the alert with the reason is lost.
        """
        if self._tls is None:
            return None
        address = self._origin.host, self._origin.port or 443
        try:
            async with asyncio.timeout(ALERT_SECONDS):
                reader, writer = await asyncio.open_connection(*address, ssl=self._tls)
                try:
                    await reader.read(1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            return error if isinstance(error, ssl.SSLError) else None
        return None

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def explain(url: str, error: Exception) -> EngineError:
    """Return an ``EngineError`` that explains an error of the connection."""
    cause = _causes(error)
    if any(words in cause.lower().replace("_", " ") for words in _NEEDS_CERTIFICATE):
        return EngineRefused(
            f"the engine {url} asks for a client certificate, and a proxy cannot pass a caller's certificate on, because only the "
            "caller has its private key. Use a password, an API key or a token, which are passed on, or let these callers call the "
            f"engine directly ({cause})"
        )
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        return EngineUnavailable(f"the certificate of {url} is not trusted; name its CA with --ca-file ({cause})")
    return EngineUnavailable(f"the engine {url} does not answer ({cause})")


def _causes(error: BaseException) -> str:
    """Return the messages of an error and of its causes: the message of TLS is often two levels down."""
    words: list[str] = []
    below: BaseException | None = error
    while below is not None:
        words.append(" ".join(str(below).split()) or type(below).__name__)
        below = below.__cause__ or below.__context__
    return "; ".join(dict.fromkeys(words))


def _tls(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--ca-file {ca_file} cannot be used: {error}; give a file of PEM certificates") from error
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
