"""Write the report as one HTML page that needs no network, fonts or libraries; all text from outside is escaped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from connector.audit.compare.differences import value_in_words
from connector.audit.compare.verdict import show
from connector.audit.folder import Folder
from connector.audit.report import plots
from slimrank.types import Json

_TEMPLATES = Path(__file__).parent / "templates"
_ORDER = ("fail", "warn", "pass", "not measured")


def to_html(report: Json, folder: Folder) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(["html"]), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Callable[..., str]] = {
        "signed": _signed,
        "number": _number,
        "percent": _percent,
        "move": _move,
        "show": _show,
        "words": value_in_words,
    }
    environment.filters.update(filters)
    timings = folder.read("timings.json")
    sweep = folder.read("sweep.json") if folder.has("sweep.json") else None
    page: str = environment.get_template("report.html").render(
        report=report,
        findings=sorted(report["findings"], key=lambda finding: _ORDER.index(finding["outcome"])),
        timings=timings,
        sweep=sweep,
        plots={name: Markup(svg) for name, svg in _plots(report, sweep).items()},
        headline=headline(report),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "report.js").read_text(encoding="utf-8")),
    )
    return page


def headline(report: Json) -> str:
    """Return by how much the first judged measure changed, with its interval, and the reason for the verdict."""
    counts = report["queries"]
    if not counts["changed"] and report["verdict"] == "pass":
        return f"Nothing changed: all {counts['asked']} queries have the same top {report['k']} in the same order."
    change = _change(report["paired"][0], report["k"]) + " " if report["paired"] else ""
    return change + _reason(report)


def _change(pair: Json, k: int) -> str:
    by = round(pair["difference"], 4)
    verb = f"fell by {-by:.4f}" if by < 0 else f"rose by {by:.4f}" if by > 0 else "stayed as it was"
    return f"{pair['measure']}@{k} {verb} (95% interval {_signed(pair['low'])} to {_signed(pair['high'])})."


def _reason(report: Json) -> str:
    """Return the reason for the verdict, except if it only repeats how the first measure changed."""
    counts = report["queries"]
    said = report["paired"][0]["measure"] if report["paired"] else ""
    worst = [str(finding["message"]) for finding in report["findings"] if finding["outcome"] == report["verdict"]]
    others = [
        message for message in worst if not (said and message.startswith((f"{said} fell", f"{said} rose", f"{said} stayed")))
    ]
    if report["verdict"] == "pass":
        return f"{counts['changed']} of {counts['asked']} queries changed, and no rule rates that as worse."
    if len(others) < len(worst) or not worst:
        return f"{counts['changed']} of {counts['asked']} queries changed."
    message = others[0]
    return f"{message[0].upper() if not message.startswith('n') else message[0]}{message[1:]}."


def _plots(report: Json, sweep: Json | None) -> dict[str, str]:
    changes = report["changes"]
    found = {
        "rbo": plots.histogram(
            changes["rbo"], title="Similarity of the two rankings, by queries", axis="rank-biased overlap, 1 = same ranking"
        ),
        "ndcg": plots.waterfall(
            changes["ndcg"], title="Change of nDCG, query by query", axis=f"nDCG@{report['k']} after - before"
        ),
    }
    reach = max(
        (abs(value) for pair in report["paired"] for value in (pair["low"], pair["high"], pair["difference"])), default=0.0
    )
    for pair in report["paired"]:
        found[f"interval {pair['measure']}"] = plots.interval(pair["difference"], pair["low"], pair["high"], reach)
    if sweep:
        points = [(point["depth"], point["ndcg"], point["milliseconds"]) for point in sweep["points"]]
        found["sweep"] = plots.sweep(points, sweep["knee"], title="nDCG by rerank depth")
    return found


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+z.4f}"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _show(value: float | None, measure: str) -> str:
    return "-" if value is None else show(measure, value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _move(hit: Json) -> str:
    """Return how a hit moved: an arrow and the number of ranks that it rose or fell."""
    if hit["other_rank"] is None:
        return "new"
    by = hit["other_rank"] - hit["rank"]
    return f"▲ {by}" if by > 0 else f"▼ {-by}" if by < 0 else "="
