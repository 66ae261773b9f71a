"""The engine's curves at tiny size: that they are there, not how fast."""

from pathlib import Path

from slimrank.bench import curves


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
