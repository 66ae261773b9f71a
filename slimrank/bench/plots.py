"""Pictures of the benchmark: the contenders beside each other, and the curves of the engine. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimrank.bench.table import LABELS
from slimrank.trials.plots import OURS, PEERS, draw_line, dress, new_figure, save


def draw_contenders(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw comparisons side by side: the pairs a second of each contender."""
    best = {name: figures["pairs_per_second"] for report in reversed(reports) for name, figures in report["contenders"].items()}
    names = sorted(best, key=lambda name: best[name])
    colors = [OURS if name.startswith("fused") else PEERS for name in names]
    figure = new_figure(3 + 4 * len(reports), 1.1 + 0.4 * len(names))
    for axes, report in zip(figure.subplots(1, len(reports), sharey=True, squeeze=False)[0], reports, strict=True):
        speeds = [report["contenders"].get(name, {}).get("pairs_per_second", 0.0) for name in names]
        bars = axes.barh([LABELS.get(name, name) for name in names], speeds, color=colors)
        axes.bar_label(bars, labels=[f"{speed:.1f}" if speed else "left out" for speed in speeds], padding=3)
        axes.margins(x=0.15)
        title = f"{report['source']}, {report['pairs']} pairs, {report['model']} ({report['precision']})"
        dress(axes, "pairs a second", title)
    save(figure, reports[0], file)


def draw_curves(report: Mapping[str, Any], file: Path) -> None:
    """Draw the seconds of a request by documents, by the length of a pair, and by threads."""
    curves = {
        "documents reranked": report["seconds_by_documents"],
        "tokens of a pair": report["seconds_by_pair_tokens"],
        "threads": report["seconds_by_threads"],
    }
    figure = new_figure(12, 3.4)
    for axes, (label, points) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        draw_line(axes, {int(place): seconds for place, seconds in points.items()}, "{:.2g} s")
        axes.set_ylim(bottom=0)
        dress(axes, label, "")
    figure.suptitle(f"{report['model']} ({report['precision']}), seconds of a request", fontsize="medium")
    save(figure, report, file)
