"""What the two engines' single nodes have in common: their configuration files, and when they are up."""

from pathlib import Path

import httpx

from tests.nodes import process

_LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def write_config(folder: Path, engine: str, *, http_port: int, transport_port: int) -> Path:
    """Write ENGINE.yml and the log settings under `folder`/config; return that folder."""
    config = folder / "config"
    config.mkdir()
    (config / "log4j2.properties").write_text(_LOGGING)
    (config / f"{engine}.yml").write_text(
        f"""cluster.name: slimrank-test
node.name: test-1
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http_port}
transport.port: {transport_port}
path.data: {folder}/data
path.logs: {folder}/logs
cluster.routing.allocation.disk.threshold_enabled: false
"""
    )
    for name in ("logs", "tmp"):
        (folder / name).mkdir()
    return config


def is_green(url: str) -> bool:
    """Tell whether the cluster at `url` answers and has every shard it can place."""
    try:
        health = process.HTTP.get(f"{url}/_cluster/health", timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    return health.get("status") in {"green", "yellow"} and not health.get("initializing_shards")
