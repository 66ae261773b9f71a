"""The figures of the benchmark as tables: one of all cells, one for each cell with a row for each contender, and the marks.

Reads reports of ``slimrank.bench.engine`` as ``slimrank.bench.cells`` stores them. Measures nothing.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from slimrank.bench.engine import OURS, TORCH_PEERS

LABELS = {
    "fused": "slimrank, prefix shared",
    "fused-alone": "slimrank, nothing shared",
    "plain": "Optimum, fp32",
    "torch-fp32": "transformers fp32",
    "torch-bf16": "transformers bf16",
    "sentence-transformers-fp32": "sentence-transformers fp32",
    "sentence-transformers-bf16": "sentence-transformers bf16",
    "mxbai-rerank-fp32": "mxbai-rerank fp32",
    "minilm-sized-fp32": "six layers of MiniLM's size, fp32",
}
"""The names of the contenders in tables and plots."""
HEADS = (
    "contender",
    "requests",
    "pairs/s",
    "times ours",
    "p50 s",
    "p95 s",
    "p99 s",
    "to first answer s",
    "peak MB",
    "nDCG@10",
    "ours gains",
)
"""The columns of a cell's table."""
MARKS = (("best_torch_peer", 2.0), ("torch_fp32", 4.0), ("plain_optimum", 2.0))
MARKED_DEPTH = 100
NDCG_MARGIN = 0.005


def summary(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return one table of all cells: the pairs a second of each contender, and how many times as long as ours it took."""
    names = [name for name in LABELS if any(name in report["contenders"] for report in reports)]
    lines = ["| pairs a second (times ours) | " + " | ".join(map(title, reports)) + " |", "|---" + "|--:" * len(reports) + "|"]
    for name in names:
        lines.append(f"| {LABELS[name]} | " + " | ".join(_speed(report, name) for report in reports) + " |")
    return "\n".join(lines)


def table(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all cells, the table of each cell, and the marks."""
    parts = [summary(reports)] if reports else []
    for report in reports:
        head, *others = _filled([HEADS, *rows(report)])
        lines = [_line(head), "|---" + "|--:" * (len(head) - 1) + "|", *map(_line, others)]
        parts.append("\n".join([f"**{title(report)}**: {about(report)}", "", *lines]))
    if found := marks(reports):
        parts.append(
            "\n".join(
                [
                    "| mark | found | reached |",
                    "|---|--:|---|",
                    *(f"| {what} | {value} | {'yes' if is_reached else 'no'} |" for what, value, is_reached in found),
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def marks(reports: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    """Return each mark, what was found, and whether that reaches the mark. Only cells of natural lengths have marks.

    The engine ranks as well as fp32 in torch if their nDCG@10 differ by at most .005 on the same requests. The interval says
    how exact that is with so few requests.
    """
    found = []
    for report in reports:
        if report["pair_tokens"] or report["depth"] != MARKED_DEPTH:
            continue
        for peer, least in MARKS:
            if (ratio := report["ratios"].get(peer)) is not None:
                found.append((f"{title(report)}: {least:g} times {peer.replace('_', ' ')}", f"{ratio:.2f}", ratio >= least))
        gain = report["contenders"].get(TORCH_PEERS[0], {}).get("ours_gains_nDCG@10")
        if gain:
            text = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
            found.append((f"{title(report)}: nDCG@10 of fp32 within {NDCG_MARGIN}", text, abs(gain["mean"]) <= NDCG_MARGIN))
        start = report["contenders"][OURS]["first_answer_seconds"]
        found.append((f"{title(report)}: first answer within 3 s", f"{start:.1f} s", start < 3))
    return found


def title(report: Mapping[str, Any]) -> str:
    """Return the title of a cell."""
    length = f"{report['pair_tokens']} tokens" if report["pair_tokens"] else "natural lengths"
    return f"{report['source']}, top {report['depth']}, {length}"


def _speed(report: Mapping[str, Any], name: str) -> str:
    if name not in report["contenders"]:
        return "left out"
    ours = report["contenders"][OURS]["seconds"]
    return f"{report['contenders'][name]['pairs_per_second']:.1f} ({_times(report['contenders'][name]['seconds'], ours):.2f})"


def about(report: Mapping[str, Any]) -> str:
    """Return what a cell measured, and which contenders it left out."""
    left_out = ", ".join(LABELS[name] for name in LABELS if name in report["left_out"])
    why = f" Left out, because one request of each would not have fitted into the time: {left_out}." if left_out else ""
    what = f"{report['pairs']} pairs, {report['tokens']} tokens, {report['model']} in {report['precision']}"
    return f"{what}, {report['bytes_on_disk'] / 1e6:.0f} MB on disk.{why}"


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of a cell: under ``HEADS``, one row for each contender."""
    return [_row(report, name) for name in LABELS if name in report["contenders"]]


def _filled(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Leave out the columns that are empty below their head."""
    kept = [place for place in range(len(lines[0])) if any(line[place] for line in lines[1:])]
    return [[line[place] for place in kept] for line in lines]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _row(report: Mapping[str, Any], name: str) -> list[str]:
    figures = report["contenders"][name]
    gain = figures.get("ours_gains_nDCG@10")
    return [
        LABELS[name],
        str(figures["requests"]),
        f"{figures['pairs_per_second']:.1f}",
        f"{_times(figures['seconds'], report['contenders'][OURS]['seconds']):.2f}",
        *(f"{figures[f'p{percent}_seconds']:.2f}" for percent in (50, 95, 99)),
        f"{figures['first_answer_seconds']:.1f}",
        f"{figures['peak_bytes'] / 1e6:.0f}",
        f"{figures['nDCG@10']:.4f}" if "nDCG@10" in figures else "",
        f"{gain['mean']:+.4f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain and name != OURS else "",
    ]


def _times(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return median(one / other for one, other in zip(theirs, ours, strict=False))
