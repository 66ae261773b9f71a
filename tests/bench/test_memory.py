"""``slimrank bench memory`` at tiny size: memory does not grow with every request."""

import json
from pathlib import Path

import pytest

from slimrank.bench.memory import LONG_TOKENS, measure_memory
from tests.command import slimrank


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_measured_over_mixed_requests_and_one_very_large_request(tiny_model: Path, threads: int) -> None:
    report = measure_memory(tiny_model, requests=20, most_documents=3, threads=threads, seed=3)
    assert len(report["resident_bytes"]) == 10
    assert report["growth_bytes"] < 64 * 2**20
    long = report["long_request"]
    assert long["characters"] > 3 * LONG_TOKENS
    assert long["peak_bytes"] >= long["before_bytes"] > 0


def test_the_command_sends_as_many_requests_as_asked_for(tiny_model: Path) -> None:
    done = slimrank("bench", "memory", "--model", tiny_model, "--requests", 2, "--most-documents", 1, "--threads", 1, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["requests"], len(report["resident_bytes"])) == (2, 2)
