"""The pages show the shipped frontier and its picture."""

from dataclasses import replace

from docs import write_frontier
from slimrank.evaluation import frontier
from slimrank.evaluation.frontier import BUDGETS_MS, Report

TIMED = replace(frontier.read(), machine="a machine", load=0.5)
"""The shipped report, as if its times were from a quiet machine."""


def lines(text: str) -> int:
    """Return the number of table rows in a text, without headers."""
    found = [line for line in text.splitlines() if line.startswith("|")]
    return len(found) - 2 * sum(line.startswith("|-") for line in found)


def test_pages_agree_with_the_shipped_report() -> None:
    shipped = frontier.read()
    assert list(write_frontier.stale(shipped)) == [], "run: python -m docs.write_frontier"
    assert not shipped.machine or "<svg" in write_frontier.PLOT.read_text(encoding="utf-8")


def test_another_report_makes_both_pages_stale() -> None:
    shipped = frontier.read()
    other = replace(shipped, rows=[replace(row, gain=None) for row in shipped.rows])
    assert list(write_frontier.stale(other)) == ["README.md", "docs/guides/engine.md"]


def test_a_page_has_a_row_for_each_budget_and_each_setting() -> None:
    assert lines(write_frontier.whole(TIMED)) == len(TIMED.rows) + len(BUDGETS_MS)
    assert "frontier.svg" in write_frontier.whole(TIMED)
    assert lines(write_frontier.short(TIMED)) == len(BUDGETS_MS)


def test_without_times_a_page_shows_what_each_number_of_hits_gains_and_no_picture() -> None:
    untimed: Report = replace(TIMED, machine="")
    hits = {row.setting.hits for row in TIMED.rows if row.setting.is_served and row.gain}
    assert lines(write_frontier.short(untimed)) == min(len(hits), len(BUDGETS_MS))
    assert lines(write_frontier.whole(untimed)) == len(TIMED.rows) and ".svg" not in write_frontier.whole(untimed)


def test_times_from_a_busy_machine_state_the_load() -> None:
    assert "the load before" not in write_frontier.short(TIMED)
    assert "the load before them was at most 8.0" in write_frontier.short(replace(TIMED, load=8.0))
