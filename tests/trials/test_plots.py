"""Measurements as pictures: what is in them, read from their SVG."""

from pathlib import Path
from typing import Any

import matplotlib
import pytest
from typer.testing import CliRunner

from slimrank.__main__ import app
from slimrank.bench.plots import draw_contenders, draw_curves
from slimrank.errors import ConfigError
from slimrank.evaluation.evaluate import Gain
from slimrank.evaluation.frontier import FIRST_STAGE, Report, Row, Setting, marked
from slimrank.trials.plots import check_plot, draw_depths, draw_frontier

ABOUT: dict[str, Any] = {
    "model": "tiny",
    "precision": "int8",
    "machine": "2 cores of a processor",
    "date": "2026-01-02 03:04 UTC",
    "load": 1.5,
}
BELOW = "2 cores of a processor, 2026-01-02 03:04 UTC, load 1.5 before"


@pytest.fixture(autouse=True)
def words_stay_words() -> None:
    """Let SVG hold text in place of its outlines."""
    matplotlib.rcParams["svg.fonttype"] = "none"


def test_a_comparison_names_its_contenders_and_its_machine(tmp_path: Path) -> None:
    speeds = {name: {"pairs_per_second": speed} for name, speed in (("fused", 9.0), ("torch-fp32", 2.0))}
    report = ABOUT | {"source": "python", "pairs": 6, "contenders": speeds}
    draw_contenders([report, report | {"contenders": {"fused": speeds["fused"]}}], tmp_path / "engine.svg")
    drawn = (tmp_path / "engine.svg").read_text()
    assert all(words in drawn for words in ("transformers fp32", "left out", "pairs a second", BELOW))


def test_a_frontier_has_a_picture_a_number_of_hits_and_names_what_nothing_beats(tmp_path: Path) -> None:
    gain = Gain(0.1, 0.0, 0.2)
    rows = [Row(Setting(FIRST_STAGE, is_served=False), 0.5, p50_ms=0.0), Row(Setting("only timed", 100, 64), p50_ms=9.0)]
    rows += [
        Row(Setting(name, hits, 64), 0.5, 0.6, gain, taken) for name, hits, taken in (("deep", 10, 90.0), ("quick", 30, 70.0))
    ]
    rows.append(Row(Setting("deep", 10, 96), 0.5, 0.55, gain, 120.0))
    about = {"machine": ABOUT["machine"], "date": ABOUT["date"], "load": ABOUT["load"]}
    report = Report(marked(rows), {"shop.test": 50, "library.test": 50}, 7, **about)
    draw_frontier(report, tmp_path / "frontier.svg")
    drawn = (tmp_path / "frontier.svg").read_text()
    assert all(
        words in drawn for words in ("10 hits", "30 hits", "deep", "quick", "head 64", "BM25 alone", "mean of 2 sets", BELOW)
    )
    assert not any(words in drawn for words in ("100 hits", "head 96", "only timed"))
    with pytest.raises(ConfigError, match="there are none yet"):
        draw_frontier(Report(rows[:2], {}, 7), tmp_path / "frontier.svg")


def test_a_comparison_of_an_older_report_is_drawn_without_what_it_does_not_say(tmp_path: Path) -> None:
    report = {"source": "a", "pairs": 6, "model": "m", "precision": "fp32", "contenders": {"fused": {"pairs_per_second": 9.0}}}
    draw_contenders([report], tmp_path / "engine.png")
    assert (tmp_path / "engine.png").stat().st_size > 1000


def test_curves_are_drawn_by_documents_length_and_threads(tmp_path: Path) -> None:
    curves = {
        "seconds_by_documents": {"1": 0.1, "10": 0.5},
        "seconds_by_pair_tokens": {64: 0.2},
        "seconds_by_threads": {1: 0.4, 2: 0.25},
    }
    draw_curves(ABOUT | curves, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(words in drawn for words in ("documents reranked", "tokens of a pair", "threads", "0.25 s", BELOW))


def test_a_depth_sweep_is_drawn_a_line_a_collection(tmp_path: Path) -> None:
    draw_depths({"shop": {0: 0.5, 10: 0.55, 20: 0.6}, "wiki": {0: 0.7, 10: 0.72}}, ABOUT, tmp_path / "depths.svg")
    drawn = (tmp_path / "depths.svg").read_text()
    assert all(words in drawn for words in ("shop", "wiki", "0.550", "hits reranked", "nDCG@10", BELOW))


def test_what_cannot_be_drawn_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found 'engine\.pdf'"):
        check_plot(tmp_path / "engine.pdf")
    result = CliRunner().invoke(app, ["bench", "memory", "--plot", str(tmp_path / "a.png")])
    assert result.exit_code == 2 and "No such option: --plot" in result.output, "memory has no picture, so it has no such option"
