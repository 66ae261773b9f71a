"""``slimrank bench queue`` with a real Redis, gateways and a worker."""

import pytest

from slimrank.bench import queue_cost
from tests.nodes.redis import running_redis


@pytest.mark.slow
@pytest.mark.redis
def test_both_ways_answer_and_their_difference_is_the_cost_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_redis() as url:
        monkeypatch.setenv("SLIMRANK_REDIS_URL", url)
        report = queue_cost.compare_ways(characters=20, count=3, rounds=5)
    assert report["embedded"]["min"] > 0 and report["queued"]["min"] > 0
    assert report["queue_costs_ms"]["median_of_pairs"] > 0
