"""The figures of complete cells of the benchmark are written between their marks."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from docs import write_benchmark
from tests.bench.test_cells import report

CURVES: dict[str, Any] = {
    "seconds_by_documents": {"1": 0.1, "10": 1.0},
    "seconds_by_pair_tokens": {"64": 0.1},
    "seconds_by_threads": {"2": 0.1, "1": 0.2},
    "products_gigaops": 300.0,
    "numpy_fp32_product_gigaops": 100.0,
}


def test_finished_cells_are_written_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = write_benchmark.PAGE.read_text(encoding="utf-8")
    assert text.count(write_benchmark.BEGIN) == text.count(write_benchmark.END) == 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n{write_benchmark.BEGIN}\nold\n{write_benchmark.END}\nafter\n")
    whole = report(fused=100.0, torch_fp32=10.0)
    (tmp_path / "a-100.json").write_text(json.dumps(whole | {"complete": True}))
    (tmp_path / "b-100.json").write_text(json.dumps(whole | {"source": "cut short"}))
    (tmp_path / "curves.json").write_text(json.dumps(CURVES))
    (tmp_path / "engine.svg").write_text("<svg/>")
    monkeypatch.setattr(write_benchmark, "PAGE", page)
    monkeypatch.setattr(write_benchmark, "PLOT", tmp_path / "plot.svg")
    monkeypatch.setattr(sys, "argv", ["write_benchmark", str(tmp_path)])
    write_benchmark.main()
    written = page.read_text()
    assert written.startswith(f"before\n{write_benchmark.BEGIN}\n") and written.endswith(f"{write_benchmark.END}\nafter\n")
    assert "| transformers fp32 | 1.0 (10.00) |" in written and "2 cores of a processor, `slimrank bench" in written
    assert "old" not in written and "cut short" not in written
    assert "| threads | 1 | 2 |" in written
    assert (tmp_path / "plot.svg").read_text() == "<svg/>"
