"""``slimrank bench``: the command; load on a gateway, what the queue costs, the engine beside its peers.

Chooses what is measured and prints it. The measuring is ``load``'s, ``serving``'s, ``engine``'s,
``curves``', ``bounds``' and ``hostile``'s.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slimrank import settings as process_settings
from slimrank import store
from slimrank.bench.load import Plan, load
from slimrank.errors import ConfigError
from slimrank.flags import JsonFlag
from slimrank.tables import print_table

LOAD_SECONDS, ALL_SECONDS = 10.0, 1800.0
QUICK_SECONDS = 240.0
"""With export, start and warm-up of all contenders it stays under ten minutes on two shared cores."""


def bench(
    url: Annotated[str, typer.Option(help="The gateway.")] = "http://127.0.0.1:8080",
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second.")] = 2.0,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="How long requests are sent, default 10; or about how long --all takes, default 1800."),
    ] = None,
    documents: Annotated[str, typer.Option(help="Numbers of documents a request, drawn evenly.")] = "10,50,100",
    characters: Annotated[int, typer.Option(min=1, help="Length of a document.")] = 1500,
    deadline_ms: Annotated[int, typer.Option(min=1, help="Deadline of every request.")] = 5000,
    on_failure: Annotated[str, typer.Option(help="error or first_stage.")] = "error",
    seed: Annotated[int, typer.Option(help="Seed of arrivals and sizes.")] = 0,
    serving: Annotated[
        bool, typer.Option("--serving", help="Measure the queue's cost over the embedded engine instead.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Compare the engine with its peers instead, on few requests.")] = False,
    engine: Annotated[bool, typer.Option("--engine", help="The same at length: 30 requests of 100 documents.")] = False,
    every: Annotated[
        Path | None,
        typer.Option("--all", help="Measure every cell and the curves into this folder, going on with what is there."),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Measure the engine's memory over many mixed requests.")] = False,
    determinism: Annotated[
        bool, typer.Option("--determinism", help="Measure how far scores move between random batches.")
    ] = False,
    hostile: Annotated[
        bool,
        typer.Option(
            "--hostile",
            help="Count how often a text that was written to win beats the relevant one; with --data, on its test queries.",
        ),
    ] = False,
    curves: Annotated[bool, typer.Option("--curves", help="Measure time against documents, length and threads.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the comparison of --quick and --engine, or --curves, there: a .png or .svg file.")
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            min=1, help="Requests of --memory, --quick and --engine, rounds of --determinism, queries a folder of --hostile."
        ),
    ] = None,
    most_documents: Annotated[int, typer.Option(min=1, help="Most documents of a request of --memory.")] = 4,
    model: Annotated[
        Path | None,
        typer.Option(help="Model of the engine's measurements: its folder or a shipped name; left out, the default model."),
    ] = None,
    plain: Annotated[Path | None, typer.Option(help="The same weights exported with --plain, a peer.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The same weights as a checkpoint, for torch peers.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="BEIR folder to take pairs from, more than one for --all; default Python's documentation."),
    ] = None,
    pair_tokens: Annotated[int | None, typer.Option(min=64, help="Fill or cut every pair to so many tokens.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Documents a request of the engine's comparison.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each contender; 0 = its own choice.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Load a gateway at a stated rate, measure the queue or the engine, or compare the engine with its peers.

    Example: slimrank bench --rate 5 --seconds 600 --deadline-ms 2000 --json

    Example: slimrank bench --quick --json

    Example: slimrank bench --all runs/bench --data data/scifact --data data/esci_products
    """
    from slimrank.bench.bounds import measure_determinism, measure_memory  # onnxruntime
    from slimrank.bench.curves import measure_curves
    from slimrank.bench.full import TABLE_FILE, thread_counts
    from slimrank.bench.plots import draw_contenders, draw_curves
    from slimrank.bench.serving import compare_ways
    from slimrank.trials.plots import check_plot

    check_plot(plot)
    if plot is not None and (every is not None or not (quick or engine or curves)):
        raise ConfigError("--plot draws what --quick, --engine or --curves measures; add one of them (--all draws by itself)")
    if every is not None:
        report = measure_cells(
            model, every, data or [], plain, checkpoint, threads=threads, seed=seed, seconds=seconds or ALL_SECONDS
        )
        if not json_output:
            typer.echo((every / TABLE_FILE).read_text(encoding="utf-8"))
            return
    elif quick or engine:
        if len(data or []) > 1:
            raise ConfigError("--data was given more than once; --quick and --engine take one folder, --all takes several")
        report = compare_engine(
            model,
            plain,
            checkpoint,
            data[0] if data else None,
            threads=threads,
            seed=seed,
            quick=not engine,
            queries=requests,
            depth=depth,
            pair_tokens=pair_tokens,
        )
        if plot is not None:
            draw_contenders([report], plot)
    elif curves:
        folder = store.model_folder(process_settings.load(model=model))
        report = measure_curves(folder, threads=thread_counts(threads), most_documents=depth or 100, seed=seed)
        if plot is not None:
            draw_curves(report, plot)
    elif memory:
        folder = store.model_folder(process_settings.load(model=model))
        report = measure_memory(folder, requests=requests or 100, most_documents=most_documents, threads=threads, seed=seed)
    elif determinism:
        folder = store.model_folder(process_settings.load(model=model))
        report = measure_determinism(folder, rounds=requests or 100, threads=threads, seed=seed)
    elif hostile:
        from slimrank.bench.hostile import cases_of, measure_hostile
        from slimrank.engine.loading import open_engine

        settings = process_settings.load(model=model)
        cases = [case for folder in data or [] for case in cases_of(folder, split="test", queries=requests or 50, seed=seed)]
        report = measure_hostile(open_engine(settings, store.model_folder(settings), threads=threads), cases or None)
    elif serving:
        report = compare_ways(characters=characters)
    else:
        plan = Plan(url, rate, seconds or LOAD_SECONDS, _sizes(documents), characters, deadline_ms, on_failure, seed)
        report = asyncio.run(load(plan))
    if json_output:
        typer.echo(json.dumps(report))
    elif quick or engine:
        _show(report)
    else:
        table = Table("figure", "value")
        for name, value in report.items():
            table.add_row(name, json.dumps(value))
        print_table(table)


def compare_engine(
    model: Path | None,
    plain: Path | None,
    checkpoint: Path | None,
    data: Path | None,
    *,
    threads: int,
    seed: int,
    quick: bool,
    queries: int | None,
    depth: int | None,
    pair_tokens: int | None,
) -> dict[str, Any]:
    """Compare the scoring engine with other ways to run the same weights."""
    from slimrank.bench.engine import compare

    folder, plain = _ours_and_plain(model, plain, checkpoint)
    return compare(
        folder,
        plain=plain,
        checkpoint=checkpoint,
        data=data,
        queries=queries or (3 if quick else 30),
        depth=depth or (20 if quick else 100),
        threads=threads,
        seed=seed,
        seconds=QUICK_SECONDS if quick else float("inf"),
        pair_tokens=pair_tokens,
    )


def measure_cells(
    model: Path | None,
    target: Path,
    data: list[Path],
    plain: Path | None,
    checkpoint: Path | None,
    *,
    threads: int,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure every cell of the benchmark, on each collection.

    Raises:
        ConfigError: no collection is given.
    """
    from slimrank.bench.full import measure_all

    if not data:
        raise ConfigError("--all compares on judged collections, and none was given; name BEIR folders with --data")
    folder, plain = _ours_and_plain(model, plain, checkpoint)
    return measure_all(folder, target, data, plain=plain, checkpoint=checkpoint, threads=threads, seed=seed, seconds=seconds)


def _ours_and_plain(model: Path | None, plain: Path | None, checkpoint: Path | None) -> tuple[Path, Path | None]:
    """Return the folder to measure, and Optimum's export of the same weights, made where none is given."""
    from slimrank.bench.engine import made_plain

    settings = process_settings.load(model=model)
    folder = store.model_folder(settings)
    return folder, plain or made_plain(folder, checkpoint, settings.home_folder)


def _show(report: dict[str, Any]) -> None:
    """Print a comparison: a row a contender, and what the engine is ahead of by how much."""
    from slimrank.bench import table as bench_table

    table = Table(
        title=f"{bench_table.title(report)}, {report['machine']}, {report['date']}, load {report['load']:.1f} before",
        caption=bench_table.about(report),
    )
    for place, head in enumerate(bench_table.HEADS):
        table.add_column(head, justify="right" if place else "left")
    for row in bench_table.rows(report):
        table.add_row(*row)
    print_table(table)
    ratios = {name.replace("_", " "): ratio for name, ratio in report["ratios"].items() if ratio is not None}
    Console(soft_wrap=True).print(
        ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()) + " times ours", highlight=False
    )


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--documents should be whole numbers above 0 with commas between, such as 10,100; found {text!r}")
    return sizes
