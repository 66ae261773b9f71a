"""Draw measurements as PNG or SVG: contenders beside each other, the engine's curves, nDCG@10 by depth and by time.

Each says below on which machine it was measured, when, and how busy that machine was before. Needs matplotlib.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimrank.errors import ConfigError
from slimrank.evaluation.frontier import Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, PEERS = "#2a6f97", "#b0b7bd"
KINDS = (".png", ".svg")
PANELS_A_ROW = 3
"""The most panels in a row: with more, the words are unreadable on a page."""


def check_plot(file: Path | None) -> None:
    """Refuse a picture that could not be drawn, before anything is measured for it.

    Raises:
        ConfigError: matplotlib is not installed, or the file's name says neither PNG nor SVG.
    """
    if file is None:
        return
    if file.suffix.lower() not in KINDS:
        raise ConfigError(f"--plot draws {' and '.join(KINDS)} files; found {file.name!r}")
    require_matplotlib()


def draw_depths(sweeps: Mapping[str, Mapping[int, float]], report: Mapping[str, Any], file: Path) -> None:
    """Draw nDCG@10 by how many hits are reranked, one line a collection; 0 is the first stage alone.

    Args:
        report: ``model``, and what ``conditions`` says.
    """
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for name, sweep in sweeps.items():
        draw_line(axes, sweep, "{:.3f}", name)
    axes.set_ylabel("nDCG@10")
    if len(sweeps) > 1:
        axes.legend(frameon=False)
    dress(axes, "hits reranked", ", ".join([*sweeps, report["model"]]) if len(sweeps) == 1 else report["model"])
    save(figure, report, file)


def draw_frontier(report: Report, file: Path) -> None:
    """Draw nDCG@10 against the time of a request, one picture a number of hits; a line joins what nothing beats."""
    panels = sorted({row.setting.hits for row in report.rows if row.setting.hits and row.p50_ms and row.quality is not None})
    if not panels:
        raise ConfigError("--plot draws settings whose quality and time were both measured, and there are none yet")
    labels = sorted({row.setting.label for row in report.rows if row.setting.hits})
    colors = {label: f"C{place % 10}" for place, label in enumerate(labels)}
    columns = min(len(panels), PANELS_A_ROW)
    lines = -(-len(panels) // columns)
    figure = new_figure(1.5 + 3.5 * columns, 1.5 + 3 * lines)
    places = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for hits, axes in zip(panels, places, strict=False):
        _draw_settings(axes, [row for row in report.rows if row.setting.hits == hits], colors)
        _draw_first_stages(axes, [row for row in report.rows if not row.setting.hits])
        dress(axes, "p50 of a request, ms", f"{hits} hits")
        axes.xaxis.set_tick_params(labelbottom=True)
    for empty in list(places):
        empty.remove()
    figure.supylabel(f"nDCG@10, mean of {len(report.sets)} sets, as served", fontsize="medium")
    handles = {label: handle for each in figure.axes for handle, label in zip(*each.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    save(figure, {"machine": report.machine, "date": report.date, "load": report.load}, file)


def _draw_settings(axes: "Axes", rows: Sequence[Row], colors: Mapping[str, str]) -> None:
    known = [row for row in rows if row.p50_ms and row.quality is not None]
    for label in sorted({row.setting.label for row in known}):
        mine = [row for row in known if row.setting.label == label]
        axes.plot([row.p50_ms or 0 for row in mine], [row.quality or 0 for row in mine], "o", color=colors[label], label=label)
    for row in known:
        words = row.setting.part if row.on_frontier else ""
        place = (row.p50_ms or 0, row.quality or 0)
        axes.annotate(words, place, xytext=(-4, 5), textcoords="offset points", ha="right", fontsize=7)
    best = sorted((row.p50_ms or 0, row.quality or 0) for row in known if row.on_frontier)
    axes.plot([time for time, _ in best], [value for _, value in best], color=OURS, linewidth=1, label="nothing beats these")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.15)


def _draw_first_stages(axes: "Axes", rows: Sequence[Row]) -> None:
    for row, style in zip([row for row in rows if row.quality is not None], (":", "--", "-."), strict=False):
        axes.axhline(row.quality or 0, color=PEERS, linestyle=style, label=f"{row.setting.label} alone")


def draw_line(axes: "Axes", points: Mapping[int, float], words: str, label: str = "") -> None:
    """Draw a line with each point's value; the places stand evenly, so that small ones do not lie on each other."""
    names = [str(place) for place in sorted(points)]
    values = [points[int(name)] for name in names]
    axes.plot(names, values, marker="o", label=label or None)
    for name, value in zip(names, values, strict=True):
        axes.annotate(
            words.format(value), (name, value), xytext=(0, 7), textcoords="offset points", ha="center", fontsize="small"
        )
    axes.margins(x=0.12, y=0.15)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of this width and height, in inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def dress(axes: "Axes", label: str, title: str) -> None:
    """Set the title of a plot and of its horizontal axis, and remove the frame."""
    axes.set_xlabel(label)
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: "Figure", report: Mapping[str, Any], file: Path) -> None:
    """Write a figure, with the machine, the date and the load of its measurement below."""
    parts = [str(report[name]) for name in ("machine", "date") if name in report]
    parts += [f"load {report['load']:.1f} before"] if "load" in report else []
    figure.supxlabel(", ".join(parts), fontsize="small", color="#5a6372")
    figure.savefig(file)


def require_matplotlib() -> None:
    """Make matplotlib draw into files alone, or say that it is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib; install it, or the extra `bench`") from error
    matplotlib.use("Agg")
