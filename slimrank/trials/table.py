"""The report of ``slimrank frontier`` as tables: in a terminal, and as Markdown for pages."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from slimrank.evaluation.evaluate import Gain
from slimrank.evaluation.frontier import BUDGETS_MS, Choice, Report, Row, choose

HEADS = ("hits", "model", "reads", "nDCG@10 alone", "fused", "gain over BM25 [95% interval]", "p50 ms", "frontier")
BUDGET_HEADS = ("budget", "model", "hits", "reads", "takes ms", "gain over BM25 [95% interval]")


def rows(found: Iterable[Row]) -> list[tuple[str, ...]]:
    """Return the cells of each row."""
    return [
        (
            str(row.setting.hits or "none"),
            row.setting.label,
            row.setting.part,
            number(row.alone),
            number(row.fused),
            interval(row.gain),
            "" if row.p50_ms is None else f"{row.p50_ms:,.0f}",
            "yes" if row.on_frontier else "",
        )
        for row in found
    ]


def budget_rows(choices: Iterable[Choice]) -> list[tuple[str, ...]]:
    """Return the cells of each budget."""
    return [_budget_row(choice) for choice in choices]


def _budget_row(choice: Choice) -> tuple[str, ...]:
    budget = words_of(choice.budget_ms)
    if choice.row is None:
        return budget, "nothing that gains fits", "", "", "", ""
    setting = choice.row.setting
    taken, gain = f"{choice.expected_ms:,.0f}", interval(choice.row.gain)
    return budget, setting.label, str(setting.hits), setting.part, taken, gain


def words_of(milliseconds: int) -> str:
    """Return a budget in words: 300 ms, 1 s."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"


def number(value: float | None) -> str:
    """Return a mean of nDCG@10, or nothing where it was not measured."""
    return "" if value is None else f"{value:.3f}"


def interval(gain: Gain | None) -> str:
    """Return a gain with its interval."""
    return "" if gain is None else f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def about(report: Report) -> str:
    """Return one or two sentences about the sets and the machine of the figures."""
    sets = ", ".join(f"{name.removesuffix('.test')} ({queries})" for name, queries in report.sets.items())
    quality = f"Mean over the test sets {sets} (queries), seed {report.seed}." if sets else "No test set was measured."
    if not report.machine:
        return f"{quality} Times were not measured."
    return f"{quality} Times: {report.machine}, {report.date}, load {report.load:.1f} before."


def tables(report: Report) -> list[Table]:
    """Return the tables that the command prints."""
    found = [_table("What each setting gains and takes", HEADS, rows(report.rows), caption=about(report))]
    chosen = reference_choices(report)
    if report.machine and report.sets:
        found.append(_table("Your budget -> these settings, on this machine", BUDGET_HEADS, budget_rows(chosen)))
    return found


def reference_choices(report: Report, budgets: Sequence[int] = BUDGETS_MS) -> list[Choice]:
    """Return the setting that fits each budget on the machine of the report."""
    return choose(report.rows, lambda row: row.p50_ms, budgets)


def markdown(heads: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    marks = "|".join("--:" if head in ("hits", "p50 ms", "takes ms") else "---" for head in heads)
    return "\n".join([_line(heads), f"|{marks}|", *map(_line, cells)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(title: str, heads: Sequence[str], cells: Iterable[Sequence[str]], *, caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in ("model", "reads") else "right")
    for row in cells:
        table.add_row(*row)
    return table
