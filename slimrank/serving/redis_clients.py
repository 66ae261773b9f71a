"""Clients of the Redis that the settings name, one server or the master that Sentinels know. Imports no Celery.

    redis://USER:PASSWORD@host:6379/0                           one server; rediss:// over TLS
    sentinel://USER:PASSWORD@host1:26379,host2:26379/NAME/0     the master NAME of these Sentinels; sentinels:// over TLS

User and password are Redis' own; ``?sentinel_username=`` and ``?sentinel_password=`` are the Sentinels'. Other options behind
the ``?`` are redis-py's, for both. Behind Sentinels every new connection asks who the master is, and a connection to one that
was replaced is closed by it, so a failover is one more cut connection.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from slimrank.errors import ConfigError
from slimrank.settings import Settings

CONNECT_SECONDS = 2.0
SOCKET_SECONDS = 10.0
"""Above the five seconds that a worker's blocking read may take."""
SENTINEL_PORT = 26379
_SCHEMES = {"sentinel": "redis", "sentinels": "rediss"}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows the master, and how it is spoken to."""

    nodes: list[tuple[str, int]]
    master: str
    url: str
    """Of the master, as a plain server's would be, at an address that is not used."""
    secrets: dict[str, str]
    """User and password of the Sentinels themselves."""

    @property
    def node_options(self) -> dict[str, Any]:
        """Return how the Sentinels are spoken to: once each, since another may be there, and over TLS like Redis itself."""
        given = _options_of(self.url)
        tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
        if self.url.startswith("rediss:"):
            tls["ssl"] = True
        once = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS, "retry": Retry(NoBackoff(), 0)}
        return once | tls | self.secrets

    @property
    def master_options(self) -> dict[str, Any]:
        """Return user, password, database and the rest of the master's URL."""
        given = {name: value for name, value in _options_of(self.url).items() if name not in {"host", "port", "connection_class"}}
        return given | ({"ssl": True} if self.url.startswith("rediss:") else {})


def sentinels(redis_url: str) -> Sentinels | None:
    """Return what a URL says of Sentinels; None where it names a server.

    Raises:
        ConfigError: it names Sentinels and no master.
    """
    parts = urlsplit(redis_url)
    if parts.scheme not in _SCHEMES:
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    try:
        nodes = [(one.hostname or "", one.port or SENTINEL_PORT) for one in (urlsplit(f"//{host}") for host in hosts.split(","))]
    except ValueError:
        nodes = []
    if not master or not nodes or not all(host for host, _ in nodes) or not (database or "0").isdigit():
        raise ConfigError(
            "setting redis_url (SLIMRANK_REDIS_URL): Sentinels are written sentinel://host1:26379,host2:26379/NAME/0, with the name of"
            f" their master; found {hosts or 'no host'} and {parts.path or 'no name'}"
        )
    query = dict(parse_qsl(parts.query))
    secrets = {name: query.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in query}
    scheme, at = _SCHEMES[parts.scheme], f"{login}@" if login else ""
    options = f"?{urlencode(query)}" if query else ""
    return Sentinels(nodes, master, f"{scheme}://{at}master:0/{database or 0}{options}", secrets)


def _options_of(url: str) -> dict[str, Any]:
    parse: Any = parse_url  # redis-py has no types for it
    options: dict[str, Any] = dict(parse(url))
    return options


def connect(settings: Settings) -> redis.Redis:
    """Return a Redis client for jobs and replies; nothing connects yet."""
    if (found := sentinels(settings.redis_url)) is None:
        return redis.Redis.from_url(settings.redis_url, **client_options())
    made: Any = Sentinel  # redis-py has no types for it
    asked = made(found.nodes, sentinel_kwargs=found.node_options)
    client: redis.Redis = asked.master_for(found.master, **found.master_options | client_options())
    return client


def connect_async(settings: Settings, *, retries: int = 1) -> Any:
    """Return an asyncio Redis client, which tries a dead connection again so many times."""
    options = client_options() | {"retry": redis.asyncio.retry.Retry(NoBackoff(), retries)}
    if (found := sentinels(settings.redis_url)) is None:
        return redis.asyncio.Redis.from_url(settings.redis_url, **options)
    made: Any = AsyncSentinel
    once = {"retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    asked = made(found.nodes, sentinel_kwargs=found.node_options | once)
    return asked.master_for(found.master, **found.master_options | options)


def client_options() -> dict[str, Any]:
    """Return the options of every Redis client of ours: fail within seconds, try a dead connection again once."""
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": SOCKET_SECONDS,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 1),
    }


def address(settings: Settings) -> str:
    """Return where Redis is, without user or password, for messages."""
    if found := sentinels(settings.redis_url):
        return f"{found.master} of the Sentinels {', '.join(f'{host}:{port}' for host, port in found.nodes)}"
    parts = urlsplit(settings.redis_url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
