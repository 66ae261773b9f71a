"""The engine's bounds hold at tiny size: scores do not move with their neighbours, memory does not add up."""

from pathlib import Path

import pytest

from slimrank.bench import bounds


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_do_not_move_with_neighbours_order_or_batch_size(tiny_model: Path, threads: int) -> None:
    report = bounds.measure_determinism(tiny_model, rounds=10, threads=threads, seed=3, documents=8)
    assert report["largest_difference"] < 1e-5 * max(1.0, report["spread_of_scores"])


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_measured_over_mixed_requests_and_one_very_large(tiny_model: Path, threads: int) -> None:
    report = bounds.measure_memory(tiny_model, requests=20, most_documents=3, threads=threads, seed=3)
    assert len(report["resident_bytes"]) == 10
    assert report["growth_bytes"] < 64 * 2**20
    long = report["long_request"]
    assert long["characters"] > 3 * bounds.LONG_TOKENS
    assert long["peak_bytes"] >= long["before_bytes"] > 0
