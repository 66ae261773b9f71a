"""Put the figures of ``slimrank frontier`` into the package and the pages: the report, its picture, and its tables.

    python -m docs.write_frontier FOLDER    writes the report of FOLDER to slimrank/evaluation/frontier.json, draws it, and updates the pages
    python -m docs.write_frontier           updates the pages from the report in the package
    python -m docs.write_frontier --check   writes nothing; exit status 1 if a page differs from the report

The package contains the report, since ``slimrank doctor`` chooses settings from it. Nothing is measured here.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from docs import defaults
from docs.marks import fill, filled
from slimrank.evaluation import frontier, frontier_cells
from slimrank.evaluation.frontier import BUDGETS_MS, Report, Row
from slimrank.files import replace_text
from slimrank.processor import QUIET_LOAD
from slimrank.trials.plots import draw_frontier
from slimrank.trials.table import BUDGET_HEADS, HEADS, about, budget_rows, interval, markdown, reference_choices, rows

ROOT = Path(__file__).parent.parent
PLOT = ROOT / "docs" / "images" / "frontier.svg"
BEGIN, END = "<!-- frontier: python -m docs.write_frontier -->", "<!-- end of frontier -->"
GUIDE = "docs/guides/engine.md"


def pages(report: Report) -> dict[Path, str]:
    """Return the text between the marks of each page."""
    found = {ROOT / "README.md": short(report), ROOT / GUIDE: whole(report)}
    return found | ({ROOT / "docs" / "guides" / "hardware.md": defaults.table(report)} if report.machine else {})


def short(report: Report) -> str:
    """Return the README's part: the best setting for each budget of time; without measured times, for each number of hits."""
    guide = f"[the engine]({GUIDE}#what-a-budget-of-time-buys) has all settings"
    if not report.machine:
        served = [(row.setting.label, str(row.setting.hits), row.setting.part, interval(row.gain)) for row in _best(report)]
        heads = ("model", "hits", "reads", "nDCG@10 over BM25 [95% interval]")
        return (
            f"{markdown(heads, served)}\n\n`slimrank doctor` says which of these fits a budget of time on your machine; {guide}."
        )
    heads = ("reranking may take", "model", "hits", "reads", "takes ms", "nDCG@10 over BM25 [95% interval]")
    table = markdown(heads, budget_rows(reference_choices(report)))
    return f"{table}\n\nTimes are of {report.machine}{_beside(report)}. `slimrank doctor` prints this table for your machine; {guide}."


def _best(report: Report) -> list[Row]:
    """Return the row with the largest gain for each number of hits, at most as many rows as there are budgets."""
    best: dict[int, Row] = {}
    for row in sorted(report.rows, key=lambda row: row.gain.mean if row.gain else 0.0):
        if row.setting.is_served and row.gain:
            best[row.setting.hits] = row
    return [best[hits] for hits in sorted(best)][-len(BUDGETS_MS) :]


def _beside(report: Report) -> str:
    """Return the highest load before a part of the times, if the machine may have been busy."""
    return f"; the load before them was at most {report.load:.1f}" if report.load > QUIET_LOAD else ""


def whole(report: Report) -> str:
    """Return the guide's part: the picture, the best setting for each budget, and all settings."""
    parts = [about(report), markdown(HEADS, rows(report.rows))]
    if report.machine:
        picture = "![nDCG@10 of each setting against its time](../images/frontier.svg)"
        parts = [picture, markdown(BUDGET_HEADS, budget_rows(reference_choices(report))), *parts]
    return "\n\n".join(parts)


def stale(report: Report) -> Iterator[str]:
    """Yield the pages that differ from the report."""
    for page, text in pages(report).items():
        if not filled(page, BEGIN, END, text):
            yield str(page.relative_to(ROOT))


def main() -> None:
    """Write the report and the pages, or check whether the pages are current."""
    parser = argparse.ArgumentParser(description="Put the frontier into the package and the pages.")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="folder that `slimrank frontier` wrote; default the report in the package"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; print what is not current")
    chosen = parser.parse_args()
    report = frontier_cells.report(chosen.folder) if chosen.folder else frontier.read()
    if chosen.check:
        if found := list(stale(report)):
            sys.exit(f"not current: {', '.join(found)}; run: python -m docs.write_frontier")
        return
    if chosen.folder:
        with replace_text(frontier.SHIPPED) as file:
            file.write(frontier.text_of(report))
        if report.machine:
            draw_frontier(report, PLOT)
    for page, text in pages(frontier.read()).items():  # read again, as the file has rounded figures
        fill(page, BEGIN, END, text)


if __name__ == "__main__":
    main()
