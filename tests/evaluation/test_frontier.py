"""The frontier is what nothing beats, a budget buys the best that fits, and a report says only what was measured."""

from pathlib import Path

import pytest

from slimrank.errors import DataError
from slimrank.evaluation import frontier, frontier_cells
from slimrank.evaluation.beir import Collection, Document
from slimrank.evaluation.evaluate import Gain
from slimrank.evaluation.frontier import FIRST_STAGE, Report, Row, Setting, choose, marked
from slimrank.evaluation.frontier_cells import (
    Draw,
    Figures,
    figures,
    first_stage_figures,
    keep_quality,
    keep_times,
    kept_quality,
    report,
)
from slimrank.settings import DEFAULT_MODEL_NAME

BM25 = Row(Setting(FIRST_STAGE, is_served=False), 0.5, p50_ms=0.0)


def row(model: str, quality: float | None, p50_ms: float | None, *, hits: int = 10, is_served: bool = True) -> Row:
    gain = None if quality is None else Gain(quality - 0.5, quality - 0.6, quality - 0.4)
    return Row(Setting(model, hits, 64, is_served=is_served), quality and 0.1, quality, gain, p50_ms)


def names(rows: list[Row]) -> set[str]:
    return {each.setting.model for each in rows if each.on_frontier}


def test_what_something_beats_in_time_and_in_gain_is_not_on_the_frontier() -> None:
    rows = [BM25, row("quick", 0.6, 100), row("slow", 0.7, 400), row("beaten", 0.65, 500), row("harmful", 0.4, 10)]
    assert names(marked(rows)) == {FIRST_STAGE, "quick", "slow"}


def test_settings_with_equal_figures_stay_on_the_frontier_together() -> None:
    assert names(marked([row("one", 0.6, 100), row("other", 0.6, 100)])) == {"one", "other"}


def test_each_number_of_hits_has_a_frontier_of_its_own() -> None:
    rows = marked([row("a", 0.6, 100, hits=10), row("b", 0.55, 300, hits=30)])
    assert names(rows) == {"a", "b"}


def test_what_was_not_measured_is_not_on_the_frontier_and_beats_nothing() -> None:
    assert names(marked([row("time alone", None, 1), row("quality alone", 0.9, None), row("both", 0.6, 100)])) == {"both"}


def test_rows_stand_by_hits_and_time_and_where_no_time_is_known_by_what_they_read() -> None:
    rows = [Row(Setting("m", hits, tokens), 0.5, p50_ms=ms) for hits, tokens, ms in ((20, 9, 1), (10, 96, None), (10, 48, None))]
    rows += [Row(Setting("m", 10, 64), 0.5, p50_ms=7.0)]
    assert [row.setting.tokens for row in marked(rows)] == [64, 48, 96, 9]


def test_a_budget_buys_what_gains_most_within_it_and_nothing_that_is_not_served() -> None:
    rows = [
        BM25,
        row("quick", 0.6, 100),
        row("slow", 0.7, 400),
        row("embedding", 0.9, 5, is_served=False),
        row("harmful", 0.4, 10),
    ]
    found = choose(rows, lambda each: each.p50_ms, budgets=(50, 100, 3000))
    assert [choice.row and choice.row.setting.model for choice in found] == [None, "quick", "slow"]
    assert found[2].expected_ms == 400


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [BM25, row("ours", 0.61234, 123.45), Row(Setting("deep", 30, 48, "best", first="ours", keep=10), p50_ms=9.0)]
    (tmp_path / "report.json").write_text(frontier.text_of(Report(marked(rows), {"shop.test": 50}, 7, "a machine", "today", 0.5)))
    found = frontier.read(tmp_path / "report.json")
    assert (found.sets, found.seed, found.machine, found.load) == ({"shop.test": 50}, 7, "a machine", 0.5)
    assert {each.setting for each in found.rows} == {each.setting for each in rows}
    [ours] = [each for each in found.rows if each.setting.model == "ours"]
    assert (ours.fused, ours.p50_ms, ours.on_frontier) == (0.6123, 123.5, True)


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"model": 1}]}', '{"rows": 3}'])
def test_a_file_that_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(DataError, match="holds no report"):
        frontier.read(tmp_path / "report.json")


def test_the_shipped_report_holds_the_default_model_and_says_what_it_was_measured_on() -> None:
    shipped = frontier.read()
    assert len(shipped.sets) >= 4 and min(shipped.sets.values()) >= 40
    ours = [each for each in shipped.rows if each.setting.model == DEFAULT_MODEL_NAME]
    assert sum(each.gain is not None for each in ours) >= 4
    assert all(each.gain or each.p50_ms for each in ours), "a row says what was measured"
    assert all(each.p50_ms is None for each in ours) or shipped.machine, "times are of a machine"


# -- the cells ---------------------------------------------------------------------------------------------------------


def draw(name: str = "shop") -> Draw:
    """Two queries over twelve documents; the first stage finds the relevant one last among five."""
    documents = {f"d{place}": Document(f"d{place}", "", f"text {place}") for place in range(12)}
    qrels = {"q1": {"d4": 1}, "q2": {"d4": 1}}
    run = {"q1": {f"d{place}": 20.0 - place for place in range(12)}, "q2": {}}
    return Draw(Collection(name, documents, {"q1": "a", "q2": "b"}, qrels), "test", 7, run)


SCORES = {"q1": {f"d{place}": float(place == 4) for place in range(12)}}


def test_only_the_first_hits_are_reordered_and_a_query_without_hits_counts_nothing() -> None:
    drawn = draw()
    assert figures(drawn, Setting("m", 5), SCORES, 0.0).alone == {"q1": pytest.approx(1.0), "q2": 0.0}
    few = figures(drawn, Setting("m", 4), SCORES, 0.0)
    assert few.alone == first_stage_figures(drawn, FIRST_STAGE, drawn.run).alone
    assert few.fused is None, "a model without a weight is served by its scores alone"
    heavy = figures(drawn, Setting("m", 5), SCORES, 100.0)
    assert heavy.fused == few.alone, "the first stage's order weighs more than any score"
    assert heavy.served == heavy.fused


def test_figures_of_another_model_or_draw_are_not_taken_for_these(tmp_path: Path) -> None:
    drawn, setting = draw(), Setting("m", 5)
    keep_quality(tmp_path, drawn, "m", "hash", [figures(drawn, setting, SCORES, 0.0)])
    keep_quality(tmp_path, drawn, "m", "hash", [figures(drawn, Setting("m", 4), SCORES, 0.0)])
    assert set(kept_quality(tmp_path, drawn, "m", "hash")) == {setting, Setting("m", 4)}
    assert kept_quality(tmp_path, drawn, "m", "another hash") == {}
    other = Draw(drawn.collection, "test", 8, drawn.run)
    assert kept_quality(tmp_path, other, "m", "hash") == {}


ABOUT = {"model": "hash", "machine": "a machine", "threads": 1, "date": "today", "load": 0.5}


def keep_both(folder: Path, drawn: Draw, *found: Figures) -> None:
    keep_quality(folder, drawn, FIRST_STAGE, "", [first_stage_figures(drawn, FIRST_STAGE, drawn.run)])
    for each in found:
        keep_quality(folder, drawn, f"{each.setting.first}{each.setting.model}", "hash", [each])


def test_a_report_is_a_mean_of_all_sets_and_a_gain_over_the_first_stage(tmp_path: Path) -> None:
    setting, partial = Setting("m", 5), Setting("n", 5)
    for drawn in (draw("shop"), draw("library")):
        keep_both(tmp_path, drawn, figures(drawn, setting, SCORES, 0.0))
    keep_quality(tmp_path, draw(), "n", "hash", [figures(draw(), partial, SCORES, 0.0)])
    keep_times(tmp_path, "m", ABOUT, {setting: [30.0, 10.0, 20.0]})
    found = report(tmp_path)
    rows = {each.setting: each for each in found.rows}
    before = rows[Setting(FIRST_STAGE, is_served=False)]
    assert (before.gain, before.p50_ms) == (None, 0.0)
    assert rows[setting].alone == 0.5 and rows[setting].p50_ms == 20.0
    assert rows[setting].gain is not None and rows[setting].gain.mean == pytest.approx(0.5 - (before.alone or 0))
    assert rows[partial].quality is None, "it was measured on one set of two"
    assert (found.sets, found.machine) == ({"library.test": 2, "shop.test": 2}, "a machine")


def test_a_cascade_takes_what_its_two_models_take(tmp_path: Path) -> None:
    drawn, cascade = draw(), Setting("deep", 12, 64, first="cheap", keep=5)
    keep_both(tmp_path, drawn, figures(drawn, cascade, SCORES, 0.0))
    keep_times(tmp_path, "cheap", ABOUT, {Setting("cheap", 12, 64): [100.0]})
    assert {each.setting: each.p50_ms for each in report(tmp_path).rows}[cascade] is None
    keep_times(tmp_path, "deep", ABOUT, {Setting("deep", 5, 64): [40.0], Setting("deep", 12, 64): [99.0]})
    assert {each.setting: each.p50_ms for each in report(tmp_path).rows}[cascade] == 140.0


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing yet"):
        report(tmp_path)
    keep_both(tmp_path, draw())
    keep_times(tmp_path, "m", ABOUT, {})
    keep_times(tmp_path, "n", ABOUT | {"machine": "another"}, {})
    with pytest.raises(DataError, match="are of a machine and of another"):
        report(tmp_path)
    frontier_cells.times_file(tmp_path, "n").unlink()
    other = draw()
    other = Draw(other.collection, "test", 7, {"q1": other.run["q1"]})
    keep_quality(tmp_path, other, "m", "hash", [])
    with pytest.raises(DataError, match="different queries"):
        report(tmp_path)
    frontier_cells.quality_file(tmp_path, other.name, "m").write_text("{}")
    with pytest.raises(DataError, match="was not written by"):
        report(tmp_path)
