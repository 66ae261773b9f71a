"""``slimrank bench determinism`` at tiny size: a score does not move with the documents beside it."""

import json
from pathlib import Path

import pytest

from slimrank.bench.determinism import measure_determinism
from tests.command import slimrank


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_do_not_move_with_neighbours_order_or_batch_size(tiny_model: Path, threads: int) -> None:
    report = measure_determinism(tiny_model, rounds=10, threads=threads, seed=3, documents=8)
    assert report["largest_difference"] < 1e-5 * max(1.0, report["spread_of_scores"])


def test_the_command_tries_as_many_rounds_as_asked_for(tiny_model: Path) -> None:
    done = slimrank("bench", "determinism", "--model", tiny_model, "--rounds", 2, "--threads", 1, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rounds"] == 2
