"""Clients of the Redis that the settings name, one server or the master that Sentinels know. Imports no Celery.

    redis://USER:PASSWORD@host:6379/0                           one server; rediss:// over TLS
    sentinel://USER:PASSWORD@host1:26379,host2:26379/NAME/0     the master NAME of these Sentinels; sentinels:// over TLS

    unix:///path/to/socket?db=0                                 one server's socket; redis+socket:// is the same

User and password are Redis' own; ``?sentinel_username=`` and ``?sentinel_password=`` are the Sentinels'. Other options behind
the ``?`` are redis-py's, for both. Behind Sentinels every new connection asks who the master is, and a connection to one that
was replaced is closed by it, so a failover is one more cut connection.
"""

import ssl
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
"""Timeout of a socket: more than the five seconds that a worker's blocking read may take."""
SENTINEL_PORT = 26379
SERVERS = frozenset({"redis", "rediss", "unix", "redis+socket"})
_SCHEMES = {"sentinel": "redis", "sentinels": "rediss"}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows the master, and how it is spoken to."""

    nodes: list[tuple[str, int]]
    master: str
    url: str
    """The URL of the master in the form of a plain server's; its address is not used."""
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


def check_url(redis_url: str) -> None:
    """Refuse an address that is none of the forms above.

    Raises:
        ConfigError: it is not.
    """
    scheme = urlsplit(redis_url).scheme
    if scheme in _SCHEMES:
        sentinels(redis_url)
        return
    try:
        if scheme not in SERVERS:
            raise ValueError(f"the scheme {scheme or 'left out'} is not supported")
        url_options(redis_url)
    except ValueError as error:
        raise ConfigError(
            f"setting redis_url (SLIMRANK_REDIS_URL): {error}; write redis://host:6379/0, rediss:// for TLS, unix:///path/to/socket,"
            " or sentinel://host1:26379,host2:26379/NAME/0. A Redis Cluster cannot be used: requests of one model share keys"
        ) from error


def url_options(redis_url: str) -> dict[str, Any]:
    """Return what a server's URL says, in redis-py's words; ``ssl`` is true where it asks for TLS.

    Raises:
        ValueError: it cannot be read.
    """
    options = _options_of(_unix(redis_url))
    return options | ({"ssl": True} if redis_url.startswith("rediss:") else {})


def socket_path(redis_url: str) -> str | None:
    """Return the path of the socket that a URL names, or None where it names a host."""
    return urlsplit(redis_url).path if urlsplit(redis_url).scheme in ("unix", "redis+socket") else None


def _unix(redis_url: str) -> str:
    """Return kombu's way of writing a socket as redis-py's."""
    if not redis_url.startswith("redis+socket:"):
        return redis_url
    return redis_url.replace("redis+socket:", "unix:", 1).replace("virtual_host=", "db=")


def _options_of(url: str) -> dict[str, Any]:
    parse: Any = parse_url  # redis-py has no types for it
    options: dict[str, Any] = dict(parse(url))
    return options


def connect(settings: Settings) -> redis.Redis:
    """Return a Redis client for jobs and replies; nothing connects yet.

    Raises:
        ConfigError: the settings' address is none.
    """
    check_url(settings.redis_url)
    if (found := sentinels(settings.redis_url)) is None:
        return redis.Redis.from_url(_unix(settings.redis_url), **_fitting(settings.redis_url, client_options()))
    made: Any = Sentinel  # redis-py has no types for it
    asked = made(found.nodes, sentinel_kwargs=found.node_options)
    client: redis.Redis = asked.master_for(found.master, **found.master_options | client_options())
    return client


def connect_async(settings: Settings, *, retries: int = 1) -> Any:
    """Return an asyncio Redis client, which tries a dead connection again so many times."""
    options = client_options() | {"retry": redis.asyncio.retry.Retry(NoBackoff(), retries)}
    if (found := sentinels(settings.redis_url)) is None:
        return redis.asyncio.Redis.from_url(_unix(settings.redis_url), **_fitting(settings.redis_url, options))
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


def _fitting(redis_url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that a socket does not know."""
    is_socket = socket_path(redis_url) is not None
    return {name: value for name, value in options.items() if not (is_socket and name == "socket_keepalive")}


def refuse_cluster(settings: Settings) -> None:
    """Refuse a Redis Cluster, if Redis answers; one that does not may come later.

    Raises:
        ConfigError: Redis is a node of a cluster, or its certificate is not trusted.
    """
    with connect(settings) as store:
        try:
            info: Any = store.info("cluster")
        except redis.RedisError as error:
            if is_untrusted(error):
                raise ConfigError(trouble(settings, error)) from error
            return
    if info.get("cluster_enabled"):
        raise ConfigError(
            f"Redis at {address(settings)} is a node of a Redis Cluster, which cannot be used: requests of one model share keys;"
            " give slimrank one server, or a master behind Sentinels (SLIMRANK_REDIS_URL)"
        )


def is_untrusted(error: BaseException) -> bool:
    """Tell whether an error is a certificate that is not trusted."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def trouble(settings: Settings, error: BaseException | None = None) -> str:
    """Return what keeps Redis from answering, and what to do."""
    where = address(settings)
    if error is not None and is_untrusted(error):
        return (
            f"the TLS certificate of Redis at {where} is not trusted: name its authority in SLIMRANK_REDIS_URL, as in"
            " rediss://host:6379/0?ssl_ca_certs=/path/to/ca.pem"
        )
    if isinstance(error, redis.exceptions.AuthenticationError):
        return f"Redis at {where} refuses user and password: {error}; see SLIMRANK_REDIS_URL"
    return f"Redis at {where} does not answer; start it, or set SLIMRANK_REDIS_URL"


def address(settings: Settings) -> str:
    """Return where Redis is, without user or password, for messages."""
    if found := sentinels(settings.redis_url):
        return f"{found.master} of the Sentinels {', '.join(f'{host}:{port}' for host, port in found.nodes)}"
    parts = urlsplit(settings.redis_url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


KEY_PREFIX = "slimrank:"
"""Every key of ours begins with it: jobs and answers, signs of life, known scores."""
