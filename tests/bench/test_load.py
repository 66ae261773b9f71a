"""Load at a stated rate with real processes: requests in = answers out, each once, each with the right documents."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from slimrank.bench.load import LoadPlan, load
from tests.command import slimrank
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker


def plan(url: str, **fields: Any) -> LoadPlan:
    defaults = {
        "rate": 20.0,
        "seconds": 4.0,
        "sizes": [5, 20],
        "characters": 200,
        "deadline_ms": 1500,
        "on_failure": "error",
        "seed": 7,
    }
    return LoadPlan(url=url, **(defaults | fields))


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
        command = [sys.executable, "-m", "slimrank", "bench", "load", "--url", gate, "--seconds", "2", "--rate", "5", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["sent"] == report["answered"] > 0
    assert set(report["full_ms"]) == {"p50", "p95", "p99"}


def test_a_gateway_that_does_not_answer_is_named_in_one_line() -> None:
    done = slimrank("bench", "load", "--url", "http://127.0.0.1:9", "--json")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "nothing answers at http://127.0.0.1:9" in done.err


@pytest.mark.parametrize("text", ["", "a", "10,,20", "0", "-1"])
def test_wrong_sizes_are_refused(text: str) -> None:
    done = slimrank("bench", "load", "--documents", text)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--documents is whole numbers above 0 with commas between" in done.err
