"""The sizing table: each line changes one thing and is measured, and the table is written between its marks."""

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from docs import measure_sizing
from docs.marks import fill
from docs.measure_sizing import Line, lines, measure


def test_each_line_changes_one_thing(tmp_path: Path) -> None:
    usual, *others = lines([tmp_path / "fp32", tmp_path / "int8"], cores=2)
    assert usual == Line(tmp_path / "fp32", 1, 2)
    for other in others:
        changed = [name for name, value in asdict(other).items() if value != asdict(usual)[name]]
        assert changed in (["cores_each"], ["processes", "cores_each"], ["depth"], ["tokens"], ["folder"])
    assert len(others) == 2 + 2 + 3 + 1


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    assert measure_sizing.BEGIN in measure_sizing.PAGE.read_text() and measure_sizing.END in measure_sizing.PAGE.read_text()
    page = tmp_path / "page.md"
    page.write_text(f"before\n{measure_sizing.BEGIN}\nold\n{measure_sizing.END}\nafter\n")
    fill(page, measure_sizing.BEGIN, measure_sizing.END, "| new |")
    assert page.read_text() == f"before\n{measure_sizing.BEGIN}\n| new |\n{measure_sizing.END}\nafter\n"


@pytest.mark.slow
def test_a_line_is_measured_in_its_own_processes(tiny_model: Path) -> None:
    processes = min(2, len(os.sched_getaffinity(0)))
    found = measure(Line(tiny_model, processes=processes, cores_each=1, depth=3, tokens=16), seconds=0.1)
    assert found.requests >= processes * measure_sizing.LEAST
    assert 0 < found.p50_ms <= found.p95_ms and found.documents_per_second > 0
