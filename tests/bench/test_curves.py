"""``slimrank bench curves`` at tiny size: the points are there; their times say nothing."""

import json
from pathlib import Path

from slimrank.bench import curves
from tests.command import slimrank


def test_curves_have_a_point_for_each_size(tiny_model: Path) -> None:
    report = curves.measure_curves(tiny_model, threads=[1, 2], most_documents=5, seed=0)
    assert list(report["seconds_by_documents"]) == [1, 5]
    assert list(report["seconds_by_pair_tokens"]) == [64, 128, 256, 512]
    assert list(report["seconds_by_threads"]) == [1, 2]
    assert report["products_gigaops"] > 0
    assert report["bytes_on_disk"] > 0
    assert {"machine", "date", "load"} <= report.keys()


def test_every_product_is_counted(tiny_model: Path) -> None:
    # two layers: q and o 64 x 64, k and v 64 x 32, gate, up and down 64 x 96
    assert curves.product_parameters(tiny_model) == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96)


def test_the_command_draws_the_curves_up_to_the_most_documents_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    given = ("--model", tiny_model, "--most-documents", 1, "--threads", 1, "--plot", tmp_path / "curves.svg", "--json")
    done = slimrank("bench", "curves", *given)
    assert done.code == 0, done.err
    assert list(json.loads(done.out)["seconds_by_documents"]) == ["1"]
    assert (tmp_path / "curves.svg").stat().st_size > 1000
