"""Load at a stated rate with real processes: requests in = answers out, each once, each with the right documents."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from slimrank.bench.cli import _sizes
from slimrank.bench.load import Plan, load
from slimrank.errors import ConfigError
from slimrank.serving.breaker import Breaker
from tests.command import slimrank
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker


def plan(url: str, **fields: Any) -> Plan:
    defaults = {
        "rate": 20.0,
        "seconds": 4.0,
        "sizes": [5, 20],
        "characters": 200,
        "deadline_ms": 1500,
        "on_failure": "error",
        "seed": 7,
    }
    return Plan(url=url, **(defaults | fields))


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.parametrize("on_failure", ["error", "first_stage"])
def test_beyond_saturation_every_request_is_answered_once_and_rightly(on_failure: str) -> None:
    with running_redis() as url, worker(redis_url=url, fake_seconds=0.1), gateway(redis_url=url) as gate:
        report = asyncio.run(load(plan(gate, on_failure=on_failure)))
    assert (report["sent"], report["lost"], report["wrong"]) == (report["answered"], 0, 0)
    if on_failure == "first_stage":
        assert set(report["statuses"]) == {"200"}
        assert set(report["degraded"]) <= {"overloaded", "deadline_exceeded"}
    else:
        assert set(report["statuses"]) <= {"200", "429", "504"}
    assert report["statuses"]["200"] >= 10


@pytest.mark.slow
def test_the_command_reports_as_json() -> None:
    with gateway(embedded=True) as gate:
        command = [sys.executable, "-m", "slimrank", "bench", "--url", gate, "--seconds", "2", "--rate", "5", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["sent"] == report["answered"] > 0
    assert set(report["full_ms"]) == {"p50", "p95", "p99"}


def test_nothing_to_load_is_said_in_one_line() -> None:
    done = slimrank("bench", "--url", "http://127.0.0.1:9", "--json")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "nothing answers at http://127.0.0.1:9" in done.err


@pytest.mark.parametrize("text", ["", "a", "10,,20", "0", "-1"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="whole numbers above 0"):
        _sizes(text)


def test_the_breaker_opens_on_silence_only_and_lets_one_probe_through() -> None:
    now = [0.0]
    breaker = Breaker(failures_to_open=3, silence_seconds=1.0, pause_seconds=1.0, clock=lambda: now[0])
    for _ in range(10):
        breaker.failed()
    assert not breaker.is_open  # many at once, but within no time
    breaker.succeeded()
    for _ in range(3):
        now[0] += 0.6
        breaker.failed()
    assert breaker.is_open
    assert not breaker.may_probe()
    now[0] += 1.0
    assert [breaker.may_probe(), breaker.may_probe()] == [True, False]
    breaker.failed()
    assert breaker.is_open
    now[0] += 1.0
    assert breaker.may_probe()
    breaker.succeeded()
    assert not breaker.is_open
