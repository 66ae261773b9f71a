"""A master that dies under Sentinels: another takes its place, and no caller is left without an answer."""

import signal
from pathlib import Path

import httpx
import pytest
import redis

from slimrank.engine.redis_clients import Sentinels, address, connect, sentinels
from slimrank.errors import ConfigError
from slimrank.serving.queue import celery_app, messages
from slimrank.settings import Settings
from tests.nodes.sentinel import running_sentinels
from tests.serving.process import gateway, worker
from tests.serving.queue.test_faults import Load
from tests.serving.queue.test_queue import GOOD, eventually, post


def sentinel_of(found: Sentinels) -> redis.Redis:
    """Return a client of the Sentinel that is there."""
    host, port = found.nodes[-1]
    return redis.Redis(host, port, decode_responses=True, **found.node_options)


def has_replica(url: str) -> bool:
    """Tell whether the master has a replica that follows, and its Sentinel knows of it."""
    found = sentinels(url)
    assert found
    with connect(Settings(redis_url=url)) as master, sentinel_of(found) as node:
        return bool(master.info("replication")["connected_slaves"] == 1 and node.sentinel_slaves(found.master))


def is_master(url: str) -> bool:
    """Tell whether this server is a master; one that is just promoted hangs up on its clients."""
    with redis.Redis.from_url(url) as server:
        try:
            return bool(server.info("replication")["role"] == "master")
        except redis.ConnectionError:
            return False


@pytest.mark.slow
@pytest.mark.redis
def test_a_failover_loses_no_request() -> None:
    with running_sentinels() as watched:
        eventually(lambda: has_replica(watched.url))
        with worker(redis_url=watched.url), gateway(redis_url=watched.url) as gate:
            with Load(gate, on_failure="first_stage", deadline_ms=4000) as asking:
                asking.wait_for(20)
                watched.master.send_signal(signal.SIGKILL)
                eventually(lambda: is_master(watched.replica_url))
                eventually(lambda: "x-slimrank-degraded" not in post(gate, GOOD | {"on_failure": "first_stage"}).headers)
                asking.wait_for(20)
                with redis.Redis.from_url(watched.replica_url) as replica:
                    assert replica.scard(messages.WORKERS_KEY) == 1
            assert set(asking.statuses) == {200}
            assert httpx.get(f"{gate}/readyz").status_code == 200


@pytest.mark.slow
@pytest.mark.redis
def test_sentinels_and_their_redis_are_spoken_to_over_tls_with_certificates(certificates: Path) -> None:
    with running_sentinels(certificates) as watched:
        eventually(lambda: has_replica(watched.url))
        with worker(redis_url=watched.url), gateway(redis_url=watched.url) as gate:
            assert post(gate).status_code == 200
            watched.master.send_signal(signal.SIGKILL)
            eventually(lambda: is_master(watched.replica_url))
            eventually(lambda: post(gate, GOOD | {"deadline_ms": 2000}).status_code == 200)


def test_a_url_names_sentinels_their_master_and_how_both_are_spoken_to() -> None:
    url = "sentinels://slim:p%40ss@one:1,two/main/3?ssl_ca_certs=/ca.pem&sentinel_username=me&sentinel_password=s3cret"
    found = sentinels(url)
    assert found
    assert (found.nodes, found.master) == ([("one", 1), ("two", 26379)], "main")
    master = found.master_options
    assert (master["username"], master["password"], master["db"], master["ssl"]) == ("slim", "p@ss", 3, True)
    assert master["ssl_ca_certs"] == found.node_options["ssl_ca_certs"] == "/ca.pem"
    assert found.node_options["retry"].get_retries() == 0  # one that is gone is passed over at once
    assert (found.node_options["username"], found.node_options["password"]) == ("me", "s3cret")
    settings = Settings(redis_url=url)
    assert address(settings) == "main of the Sentinels one:1, two:26379"
    made = celery_app.make_app(settings)
    assert made.conf.broker_url == "sentinel://slim:p%40ss@one:1/3;sentinel://slim:p%40ss@two:26379/3"
    assert made.conf.broker_transport_options["master_name"] == "main"
    assert made.conf.broker_use_ssl == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    assert sentinels("redis://127.0.0.1:6379/0") is None


@pytest.mark.parametrize("url", ["sentinel://one", "sentinel:///main", "sentinel://one:x/main", "sentinel://one/main/first"])
def test_a_url_without_hosts_or_name_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigError, match="written sentinel://host1:26379"):
        connect(Settings(redis_url=url))
