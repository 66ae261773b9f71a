"""``slimrank bench --all FOLDER``: every cell of the benchmark within about a given time.

A cell is a collection, a depth and a length of pairs. Each is kept as FOLDER/NAME.json after every answer, so a run
that is killed loses one answer; a run into the same folder goes on with the cells that are not finished, or that were
measured for another graph or machine. In the first cell, a cheap one, every contender takes part. After it, what a
contender's tokens took says what a request will take it, and the slowest are left out of a cell that would not fit
into its share of the time that is left; the table says so. The most telling cells come next.
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
from slimrank.bench.curves import measure_curves
from slimrank.bench.engine import OURS, compare
from slimrank.bench.plots import draw_contenders
from slimrank.errors import ConfigError
from slimrank.files import replace_text
from slimrank.manifest import GRAPH_FILE

WEIGHTS = {(20, None): 3, (100, None): 10, (20, 512): 3, (100, 512): 6}
"""(depth, tokens of a pair) -> share of the time, in the order of measuring."""
MOST_REQUESTS = 30
CURVES_FILE, TABLE_FILE, PLOT_FILE = "curves.json", "table.md", "engine.svg"


@dataclass(frozen=True, slots=True)
class Cell:
    """Some pairs to score."""

    data: Path
    depth: int
    pair_tokens: int | None
    weight: float

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.data.name}-{self.depth}" + (f"-{self.pair_tokens}" if self.pair_tokens else "")


def measure_all(
    folder: Path,
    target: Path,
    data: Sequence[Path],
    *,
    plain: Path | None,
    checkpoint: Path | None,
    threads: int,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure what is missing in ``target``; return all cells by name.

    Args:
        folder: Model folder.
        data: BEIR folders.
        seconds: About how long it may take; the first cell takes what it takes.

    Raises:
        ConfigError: there is no peer to compare with, or nothing to draw with.
    """
    if find_spec("matplotlib") is None:  # said before the first cell, not after it
        raise ConfigError("--all needs matplotlib for its plot; install the extra `bench`")
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


def thread_counts(threads: int) -> list[int]:
    """Return the numbers of threads that curves try: that many (0 = all cores), and the powers of two below."""
    most = processor.lanes(threads, "cpu")
    return [most, *(2**power for power in range(most.bit_length()) if 2**power < most)]


def too_slow(cell: Cell, done: Sequence[Mapping[str, Any]], share: float) -> set[str]:
    """Return the contenders that one request each of would not fit into ``share`` seconds, the slowest first.

    Judged by their newest speeds; those of whom none is known are not among them.
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
    """Write the table and the plot of what is there."""
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
