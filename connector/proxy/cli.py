"""``slimrank proxy``: rerank in front of a search engine, without changing engine or callers.

The proxy runs until SIGTERM. Then ``/_slimrank/health`` reports for a while that the proxy stops, and running requests are
finished.
"""

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from connector.proxy.answering import Parts
from connector.proxy.app import Proxy
from connector.proxy.metrics import Metrics
from connector.proxy.rules import Rules, load_rules
from connector.proxy.scorer import make_scorer
from connector.proxy.shadow import Shadow
from connector.proxy.upstream import SILENT_SECONDS, Upstream
from slimrank.errors import ConfigError
from slimrank.serving.gateway.protocol import options
from slimrank.serving.gateway.server import listen
from slimrank.telemetry import configure_logging

log = logging.getLogger(__name__)

FINISH_SECONDS = 60


def proxy(
    upstream: Annotated[
        str, typer.Option(help="URL of the engine, such as http://localhost:9200; the proxy calls no other server")
    ],
    rules: Annotated[
        Path | None, typer.Option(help="YAML file with rules. Without it, only searches with ext.slimrank are reranked")
    ] = None,
    scorer: Annotated[str, typer.Option(help="A gateway's URL, or `embedded`")] = "http://127.0.0.1:8080",
    api_key: Annotated[str | None, typer.Option(envvar="SLIMRANK_API_KEY", help="Key for the gateway")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model of the embedded scorer: a folder or the name of a shipped model. Default: the default model"),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on", min=0, max=65535)] = 9201,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file with the CA certificates to trust for the engine, instead of the system's")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Verify the engine's certificate")] = True,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate for serving HTTPS")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of --tls-cert")] = None,
    shadow_file: Annotated[Path | None, typer.Option(help="File for the results of shadow rules, as JSON lines")] = None,
    shadow_queries: Annotated[bool, typer.Option(help="Also write query texts into --shadow-file")] = False,
    max_request_bytes: Annotated[int, typer.Option(min=1024, help="Longer requests are passed on without reading them")] = 2**20,
    max_window_bytes: Annotated[int, typer.Option(min=1024, help="Longer windows are not reranked")] = 16 * 2**20,
    max_running: Annotated[
        int,
        typer.Option(
            min=1, help="Searches that are reranked at the same time; further searches are passed on and marked degraded"
        ),
    ] = 32,
    max_windows_bytes: Annotated[
        int,
        typer.Option(min=1024, help="Bytes of all windows in memory together; the proxy needs about eight times as much memory"),
    ] = 48 * 2**20,
    silent_seconds: Annotated[
        float, typer.Option(min=1, help="Seconds without any data from the engine after which the proxy gives up")
    ] = SILENT_SECONDS,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds after SIGTERM in which new requests are still accepted")
    ] = 0.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Rerank in front of a search engine's _search and _msearch; pass all other requests on.

    Example: slimrank proxy --upstream http://localhost:9200 --port 9201 --rules rules.yaml --scorer http://localhost:8080
    """
    configure_logging(log_level)
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("only one of --tls-cert and --tls-key was given; give both, or neither for plain HTTP")
    metrics = Metrics()
    parts = Parts(
        upstream=Upstream(upstream, ca_file=ca_file, verify=verify, silent_seconds=silent_seconds),
        scorer=make_scorer(scorer, model=model, api_key=api_key),
        rules=load_rules(rules) if rules else Rules(),
        metrics=metrics,
        shadow=Shadow(metrics, shadow_file, keep_queries=shadow_queries),
        max_request_bytes=max_request_bytes,
        max_window_bytes=max_window_bytes,
        max_windows_bytes=max_windows_bytes,
        max_running=max_running,
    )
    _serve(Proxy(parts), host, port, tls_cert, tls_key, drain_seconds)


class _Server(uvicorn.Server):
    """A server that continues for ``drain_seconds`` after the first SIGTERM, so that a load balancer can redirect callers."""

    def __init__(self, config: uvicorn.Config, app: Proxy, drain_seconds: float) -> None:
        super().__init__(config)
        self._app, self._drain_seconds = app, drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal or SIGINT stops at once."""
        if sig == signal.SIGTERM and self._drain_seconds and not self._app.is_draining:
            log.info("draining seconds=%g", self._drain_seconds)
            signal.signal(signal.SIGALRM, lambda *_: super(_Server, self).handle_exit(sig, None))
            signal.setitimer(signal.ITIMER_REAL, self._drain_seconds)
        else:
            super().handle_exit(sig, frame)
        self._app.is_draining = True


def _serve(app: Proxy, host: str, port: int, tls_cert: Path | None, tls_key: Path | None, drain_seconds: float) -> None:
    listener = listen(host, port)
    config = uvicorn.Config(
        app,
        **options(),
        date_header=False,
        proxy_headers=False,
        lifespan="on",
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    try:
        server = _Server(config, app, drain_seconds)
        config.load()
    except OSError as error:
        raise ConfigError(f"--tls-cert {tls_cert} and --tls-key {tls_key} cannot be used: {error}; give PEM files") from error
    log.info("listening host=%s port=%d", host, listener.getsockname()[1])
    with listener:
        server.run(sockets=[listener])
