"""Put the figures of ``slimrank bench all FOLDER`` into the guide to the engine.

    python -m docs.write_benchmark FOLDER

The table of all cells and the curves go into docs/guides/engine.md, between its marks, and
the plot to docs/images/engine.svg. Nothing is measured here, and incomplete cells are left out. Then update the README, which
repeats some of the figures: ``python -m docs.write_readme``.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from docs.marks import fill
from slimrank.bench.cells import CURVES_FILE, PLOT_FILE, WEIGHTS
from slimrank.bench.table import table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guides" / "engine.md"
PLOT = ROOT / "docs" / "images" / "engine.svg"
BEGIN, END = "<!-- benchmark: python -m docs.write_benchmark -->", "<!-- end of benchmark -->"
LEAST_QUERIES = 50
"""nDCG@10 of fewer queries is too inexact, and is not shown."""
COMMAND = "slimrank bench all FOLDER"


def cells(folder: Path) -> list[dict[str, Any]]:
    """Return the complete cells, in the order in which cells are measured."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json")) if file.name != CURVES_FILE]
    order = list(WEIGHTS)
    whole = [report for report in found if report.get("complete")]
    return sorted(whole, key=lambda report: (order.index((report["depth"], report["pair_tokens"])), report["source"]))


def with_telling_figures(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without each nDCG@10 of fewer than ``LEAST_QUERIES`` queries."""
    contenders = {
        name: figures if figures["requests"] >= LEAST_QUERIES else {key: figures[key] for key in figures if "nDCG" not in key}
        for name, figures in report["contenders"].items()
    }
    return report | {"contenders": contenders}


def curves(found: dict[str, Any]) -> str:
    """Return the curves as tables."""
    heads = {"seconds_by_documents": "documents", "seconds_by_pair_tokens": "tokens a pair", "seconds_by_threads": "threads"}
    parts = []
    for name, head in heads.items():
        points = sorted(found[name].items(), key=lambda point: int(point[0]))
        keys, values = zip(*((key, f"{value:.3f}") for key, value in points), strict=True)
        parts.append(
            "\n".join([f"| {head} | {' | '.join(keys)} |", "|---" + "|--:" * len(keys) + "|", f"| s | {' | '.join(values)} |"])
        )
    limit = f"Products: {found['products_gigaops']:.0f} Gop/s; a plain fp32 product reaches {found['numpy_fp32_product_gigaops']:.0f}."
    return "\n\n".join([*parts, limit])


def main() -> None:
    """Write the page and the plot."""
    parser = argparse.ArgumentParser(description="Put a benchmark's figures into the documentation.")
    parser.add_argument("folder", type=Path, help="folder that `slimrank bench all` wrote")
    folder: Path = parser.parse_args().folder
    reports = [with_telling_figures(report) for report in cells(folder)]
    if not reports:
        parser.error(f"{folder} has no complete cell; run `{COMMAND}` first")
    about = f"{reports[0]['machine']}, `{COMMAND}`:"
    kept = folder / CURVES_FILE
    shown = [f"{about}\n\n{table(reports).rstrip()}"]
    if kept.is_file():
        shown.append(curves(json.loads(kept.read_text(encoding="utf-8"))))
    fill(PAGE, BEGIN, END, "\n\n".join(shown))
    if (folder / PLOT_FILE).is_file():
        shutil.copyfile(folder / PLOT_FILE, PLOT)


if __name__ == "__main__":
    main()
