"""``slimrank bench``: one subcommand for each question about speed, memory and scores. The measuring is in the files beside this one."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from slimrank import settings as process_settings
from slimrank import store
from slimrank.errors import ConfigError
from slimrank.options import SEED, SPLIT, JsonOption, OptionalDataOption, QueriesOption, SeedOption, SplitOption, whole_numbers
from slimrank.tables import print_table

QUICK_SECONDS = 240.0
"""With the export, the start and the warm-up of all contenders, the comparison stays under ten minutes on two shared cores."""
FORMER_OPTIONS = {
    "--quick": "engine --quick",
    "--engine": "engine",
    "--serving": "queue",
    "--all": "all",
    "--memory": "memory",
    "--determinism": "determinism",
    "--hostile": "hostile",
    "--curves": "curves",
}


class BenchGroup(TyperGroup):
    """The group of subcommands. It tells the new spelling to those who use the options of earlier releases."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Refuse options before the subcommand; there are none but those that ask for help."""
        if args and args[0].startswith("-") and not {"-h", "--help"} & set(args):
            former = next((word for word in args if word in FORMER_OPTIONS), None)
            new = FORMER_OPTIONS[former] if former else "load"
            raise ConfigError(
                f"`slimrank bench {former or args[0]}` is now `slimrank bench {new}`; `slimrank bench {new.split()[0]} --help`"
                " shows its options"
            )
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=BenchGroup, no_args_is_help=True, rich_markup_mode=None, help="Measure speed, memory and scores on this machine."
)

ModelOption = Annotated[Path | None, typer.Option(help="Model folder, or a shipped name; default the default model.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads of the model; 0 = one a physical core.")]
PlainOption = Annotated[
    Path | None, typer.Option(help="The same weights exported with --plain, as a contender; default they are exported once.")
]
CheckpointOption = Annotated[
    Path | None, typer.Option(help="The same weights as a checkpoint, for contenders in torch; default the one exported from.")
]


@app.command()
def load(
    url: Annotated[str, typer.Option(help="The gateway.")] = "http://127.0.0.1:8080",
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long requests are sent.")] = 10.0,
    documents: Annotated[str, typer.Option(help="Numbers of documents in a request, drawn evenly.")] = "10,50,100",
    characters: Annotated[int, typer.Option(min=1, help="Length of a document.")] = 1500,
    deadline_ms: Annotated[int, typer.Option(min=1, help="Deadline of every request.")] = 5000,
    on_failure: Annotated[str, typer.Option(help="error, or first_stage: what the gateway does if it cannot score.")] = "error",
    seed: Annotated[int, typer.Option(help="Seed of arrivals and sizes.")] = SEED,
    as_json: JsonOption = False,
) -> None:
    """Send requests to a gateway at a stated rate, and check every answer.

    Example: slimrank bench load --rate 5 --seconds 600 --deadline-ms 2000 --json
    """
    from slimrank.bench.load import LoadPlan
    from slimrank.bench.load import load as send

    sizes = whole_numbers("--documents", documents)
    _print(asyncio.run(send(LoadPlan(url, rate, seconds, sizes, characters, deadline_ms, on_failure, seed))), as_json)


@app.command()
def engine(
    quick: Annotated[bool, typer.Option("--quick", help="Ask 3 requests of 20 documents, within minutes.")] = False,
    model: ModelOption = None,
    plain: PlainOption = None,
    checkpoint: CheckpointOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Collection (BEIR folder) to take pairs from; default Python's documentation.")
    ] = None,
    split: SplitOption = SPLIT,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests; default 30, or 3 with --quick.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Documents of a request; default 100, or 20 with --quick.")] = None,
    pair_tokens: Annotated[int | None, typer.Option(min=64, help="Fill or cut every pair to this many tokens.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each contender; 0 = its own choice.")] = 0,
    seed: SeedOption = SEED,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison there: a .png or .svg file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the scoring engine with other ways to run the same weights.

    Example: slimrank bench engine --quick --json
    """
    from slimrank.bench.engine import compare
    from slimrank.bench.plots import draw_contenders
    from slimrank.trials.plots import check_plot

    check_plot(plot)
    folder, plain = _ours_and_plain(model, plain, checkpoint)
    report = compare(
        folder,
        plain=plain,
        checkpoint=checkpoint,
        data=data,
        split=split,
        queries=requests or (3 if quick else 30),
        depth=depth or (20 if quick else 100),
        threads=threads,
        seed=seed,
        seconds=QUICK_SECONDS if quick else float("inf"),
        pair_tokens=pair_tokens,
    )
    if plot is not None:
        draw_contenders([report], plot)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        show_comparison(report)


@app.command()
def queue(
    characters: Annotated[int, typer.Option(min=1, help="Length of a document.")] = 1500,
    as_json: JsonOption = False,
) -> None:
    """Measure what the queue costs: gateways with and without it, over a scorer that takes no time. Needs Redis.

    Example: slimrank bench queue --json
    """
    from slimrank.bench.queue_cost import compare_ways

    _print(compare_ways(characters=characters), as_json)


@app.command()
def memory(
    requests: Annotated[int, typer.Option(min=1, help="Mixed requests before the very large one.")] = 100,
    most_documents: Annotated[int, typer.Option(min=1, help="Most documents of a mixed request.")] = 4,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    seed: SeedOption = SEED,
    as_json: JsonOption = False,
) -> None:
    """Measure the engine's memory over many mixed requests, and the peak that one very large request causes.

    Example: slimrank bench memory --requests 10000 --json
    """
    from slimrank.bench.memory import measure_memory

    report = measure_memory(_folder(model), requests=requests, most_documents=most_documents, threads=threads, seed=seed)
    _print(report, as_json)


@app.command()
def determinism(
    rounds: Annotated[int, typer.Option(min=1, help="Random batches that are tried.")] = 100,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    seed: SeedOption = SEED,
    as_json: JsonOption = False,
) -> None:
    """Measure how far the score of a document moves between random batches.

    Example: slimrank bench determinism --rounds 100 --json
    """
    from slimrank.bench.determinism import measure_determinism

    _print(measure_determinism(_folder(model), rounds=rounds, threads=threads, seed=seed), as_json)


@app.command()
def hostile(
    data: OptionalDataOption = None,
    split: SplitOption = SPLIT,
    queries: QueriesOption = None,
    seed: SeedOption = SEED,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Count how often a text that was written to win beats the relevant one.

    Without --data, 20 cases are tried that were written for this.

    Example: slimrank bench hostile --data collections/shop --queries 50 --json
    """
    from slimrank.bench.hostile import cases_of, measure_hostile
    from slimrank.engine.loading import open_engine

    cases = [case for folder in data or [] for case in cases_of(folder, split=split, queries=queries, seed=seed)]
    settings = process_settings.load(model=model)
    scorer = open_engine(settings, store.model_folder(settings), threads=threads)
    _print(measure_hostile(scorer, cases or None), as_json)


@app.command()
def curves(
    most_documents: Annotated[int, typer.Option(min=1, help="Most documents of a request.")] = 100,
    model: ModelOption = None,
    threads: Annotated[int, typer.Option(min=0, help="Most threads that are tried; 0 = one a physical core.")] = 0,
    seed: SeedOption = SEED,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves there: a .png or .svg file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the engine's time against documents, length of a pair, and threads.

    Example: slimrank bench curves --plot curves.svg
    """
    from slimrank.bench.curves import measure_curves, thread_counts
    from slimrank.bench.plots import draw_curves
    from slimrank.trials.plots import check_plot

    check_plot(plot)
    report = measure_curves(_folder(model), threads=thread_counts(threads), most_documents=most_documents, seed=seed)
    if plot is not None:
        draw_curves(report, plot)
    _print(report, as_json)


@app.command("all")
def every_cell(
    folder: Annotated[Path, typer.Argument(help="Folder of the figures, the table and the plot; complete cells are kept.")],
    data: OptionalDataOption = None,
    split: SplitOption = SPLIT,
    seconds: Annotated[float, typer.Option(min=1, help="About how long it may take.")] = 1800.0,
    model: ModelOption = None,
    plain: PlainOption = None,
    checkpoint: CheckpointOption = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each contender; 0 = its own choice.")] = 0,
    seed: SeedOption = SEED,
    as_json: JsonOption = False,
) -> None:
    """Compare the engine on each collection at each size, and measure the curves. The same command resumes a stopped run.

    Example: slimrank bench all runs/bench --data collections/scifact --data collections/shop
    """
    from slimrank.bench.cells import TABLE_FILE, measure_all

    if not data:
        raise ConfigError(
            "`slimrank bench all` compares on judged collections, and none was given; name BEIR folders with --data"
        )
    ours, plain = _ours_and_plain(model, plain, checkpoint)
    report = measure_all(
        ours, folder, data, split=split, plain=plain, checkpoint=checkpoint, threads=threads, seed=seed, seconds=seconds
    )
    typer.echo(json.dumps(report) if as_json else (folder / TABLE_FILE).read_text(encoding="utf-8"))


def _folder(model: Path | None) -> Path:
    return store.model_folder(process_settings.load(model=model))


def _ours_and_plain(model: Path | None, plain: Path | None, checkpoint: Path | None) -> tuple[Path, Path | None]:
    """Return the folder to measure, and Optimum's export of the same weights, which is made if none is given."""
    from slimrank.bench.engine import made_plain

    settings = process_settings.load(model=model)
    folder = store.model_folder(settings)
    return folder, plain or made_plain(folder, checkpoint, settings.home_folder)


def _print(report: dict[str, Any], as_json: bool) -> None:
    """Print the figures of a report: as JSON, or one a row."""
    if as_json:
        typer.echo(json.dumps(report))
        return
    table = Table("figure", "value")
    for name, value in report.items():
        table.add_row(name, json.dumps(value))
    print_table(table)


def show_comparison(report: dict[str, Any]) -> None:
    """Print a comparison: one row for each contender, then how many times as long as ours each took."""
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
