"""``slimrank bench all FOLDER``: every cell of the benchmark, within about a given time.

A cell is a collection, a depth and a length of pairs. It is stored as FOLDER/NAME.json after every answer, so a run that is
killed loses one answer. A run into the same folder measures the cells that are not complete, or that were measured for another
graph or machine. Every contender takes part in the first cell, which is a cheap one. From then on, the speed of a contender says
how long a request will take it, and a cell that would not fit into its share of the time leaves out the slowest contenders;
the table names them. The cells that say most come right after the first one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from slimrank import manifest as manifests
from slimrank import processor
from slimrank.bench import table as bench_table
from slimrank.bench.curves import measure_curves, thread_counts
from slimrank.bench.engine import OURS, compare
from slimrank.bench.plots import draw_contenders
from slimrank.errors import ConfigError
from slimrank.files import replace_text
from slimrank.manifest import GRAPH_FILE
from slimrank.options import SPLIT

WEIGHTS = {(20, None): 3, (100, None): 10, (20, 512): 3, (100, 512): 6}
"""(depth, tokens of a pair) -> share of the time; cells are measured in this order."""
MOST_REQUESTS = 30
CURVES_FILE, TABLE_FILE, PLOT_FILE = "curves.json", "table.md", "engine.svg"


@dataclass(frozen=True, slots=True)
class Cell:
    """The pairs of one comparison: where they come from, how many a request has, and how long they are."""

    data: Path
    depth: int
    pair_tokens: int | None
    weight: float

    @property
    def name(self) -> str:
        """The name of the cell's file."""
        return f"{self.data.name}-{self.depth}" + (f"-{self.pair_tokens}" if self.pair_tokens else "")


def measure_all(
    folder: Path,
    target: Path,
    data: Sequence[Path],
    *,
    split: str = SPLIT,
    plain: Path | None,
    checkpoint: Path | None,
    threads: int,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure what is missing in ``target``; return all cells by name.

    Args:
        folder: Model folder.
        target: Folder to write.
        data: BEIR folders.
        seconds: About how long it may take; the first cell is measured in any case.

    Raises:
        ConfigError: there is no peer to compare with, or matplotlib is missing.
    """
    if find_spec("matplotlib") is None:  # refused before half an hour of measuring
        raise ConfigError("`slimrank bench all` needs matplotlib for its plot; run: pip install 'slimrank[bench]'")
    end = monotonic() + seconds
    target.mkdir(parents=True, exist_ok=True)
    graph = manifests.check(folder).files[GRAPH_FILE].sha256
    cells = [Cell(each, *size, weight) for size, weight in WEIGHTS.items() for each in data]
    done = {cell.name: found for cell in cells if (found := _kept(target / f"{cell.name}.json", graph))}
    for place, cell in enumerate(cells):
        if cell.name in done:
            continue
        left = sum(each.weight for each in cells[place:] if each.name not in done)
        share = (end - monotonic()) * cell.weight / left
        without = too_slow(cell, list(done.values()), share)
        if share <= 0 or OURS in without:
            continue
        found = {"cell": cell.name} | compare(
            folder,
            plain=plain,
            checkpoint=checkpoint,
            data=cell.data,
            split=split,
            queries=MOST_REQUESTS,
            depth=cell.depth,
            threads=threads,
            seed=seed,
            seconds=share,
            pair_tokens=cell.pair_tokens,
            without=without,
            keep=lambda report, name=cell.name: _keep(target / f"{name}.json", {"cell": name} | report),  # type: ignore[misc]
        )
        done[cell.name] = found | {"complete": True}
        _keep(target / f"{cell.name}.json", done[cell.name])
        _show(target, done)
    curves = _kept(target / CURVES_FILE, graph)
    if not curves:
        curves = measure_curves(folder, threads=thread_counts(threads), most_documents=100, seed=seed)
        curves |= {"graph_sha256": graph, "complete": True}
        _keep(target / CURVES_FILE, curves)
    _show(target, done)
    return done | {"curves": curves}


def too_slow(cell: Cell, done: Sequence[Mapping[str, Any]], share: float) -> set[str]:
    """Return the slowest contenders: those whose first request does not fit into ``share`` seconds with the requests of the others.

    Their newest speeds are used. A contender whose speed is not known yet is not returned.
    """
    if not done:
        return set()
    known = {name: figures for report in done for name, figures in report["contenders"].items()}
    tokens = max(report["tokens"] / report["pairs"] for report in done if not report["pair_tokens"])
    needed = cell.depth * (cell.pair_tokens or tokens)
    out, spent = set(), 0.0
    for name in sorted(known, key=lambda name: (name != OURS, -known[name]["tokens_per_second"])):
        takes = known[name]["first_answer_seconds"] + needed / known[name]["tokens_per_second"]
        if spent + takes > share:
            out.add(name)
        else:
            spent += takes
    return out


def _show(target: Path, done: Mapping[str, dict[str, Any]]) -> None:
    """Write the table and the plot of the cells that are complete."""
    reports = list(done.values())
    (target / TABLE_FILE).write_text(bench_table.table(reports), encoding="utf-8")
    drawn = [report for report in reports if (report["depth"], report["pair_tokens"]) == (bench_table.MARKED_DEPTH, None)]
    if drawn:
        draw_contenders(drawn, target / PLOT_FILE)


def _kept(file: Path, graph: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    is_same = (found.get("graph_sha256"), found.get("machine")) == (graph, processor.machine())
    return found if found.get("complete") and is_same else None


def _keep(file: Path, report: Mapping[str, Any]) -> None:
    with replace_text(file) as stream:
        json.dump(report, stream, indent=1)
