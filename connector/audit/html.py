"""The report as one HTML page that needs nothing else: no network, no fonts, no libraries; everything from outside is escaped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from connector.audit import plots
from connector.audit.folder import Folder
from connector.audit.spec import Json
from connector.audit.verdict import show

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
    """Return the verdict's reason in one sentence."""
    worst = [finding for finding in report["findings"] if finding["outcome"] == report["verdict"]]
    counts = report["queries"]
    if report["verdict"] != "pass" and worst:
        message = str(worst[0]["message"])
        return f"{message[0].upper() if not message.startswith('n') else message[0]}{message[1:]}."
    if not counts["changed"]:
        return f"Nothing changed: all {counts['asked']} queries have the same top {report['k']}, in the same order."
    return f"{counts['changed']} of {counts['asked']} queries changed, and no rule calls that worse."


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
    """Return how a hit got to its rank: an arrow and the ranks it rose or fell."""
    if hit["other_rank"] is None:
        return "new"
    by = hit["other_rank"] - hit["rank"]
    return f"▲ {by}" if by > 0 else f"▼ {-by}" if by < 0 else "="
