"""``slimrank frontier FOLDER``: measure what is missing in the folder, and show what each setting gains and takes.

A setting is a model, a cut of documents, a window and a number of hits. Quality is measured where ``--data`` names test sets, times
unless ``--without-times`` is given, each for the models that are named; the table shows all that the folder holds. So one machine
can make the quality, and another one the times. What the files are is said in ``slimrank.evaluation.frontier_cells``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slimrank import settings as process_settings
from slimrank import store
from slimrank.errors import ConfigError
from slimrank.evaluation import frontier, frontier_cells
from slimrank.evaluation.frontier_cells import Draw
from slimrank.files import replace_text
from slimrank.folders import one_at_a_time
from slimrank.options import SPLIT, JsonOption, OptionalDataOption, SplitOption, whole_numbers
from slimrank.tables import print_table
from slimrank.trials.commands import pairs_progress
from slimrank.trials.cuts import WINDOWS
from slimrank.trials.plots import check_plot, draw_frontier
from slimrank.trials.quality import Contender, Grid, measure_cascade, measure_quality
from slimrank.trials.table import tables
from slimrank.trials.times import measure_times


def measure_frontier(
    folder: Annotated[Path, typer.Argument(help="Where scores, figures and times are kept; a run goes on with what is there.")],
    data: OptionalDataOption = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder, a cross-encoder's too, or a shipped name; several are compared. Left out, the default model."
        ),
    ] = None,
    cuts: Annotated[str, typer.Option(help="Tokens of a document that are read.")] = "48,64,96",
    windows: Annotated[str, typer.Option(help="Where documents are cut: head, best, or head,best.")] = "head,best",
    hits: Annotated[str, typer.Option(help="Numbers of first-stage hits that are reranked.")] = "10,30,100",
    cascade: Annotated[
        list[str] | None, typer.Option(help="FIRST:FULL, names of two models: the first one narrows the hits for the full one.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Hits that a cascade's first model lets through.")] = 10,
    queries: Annotated[int, typer.Option(min=1, help="Queries sampled from each set.")] = 50,
    split: SplitOption = SPLIT,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of made-up documents.")] = 7,
    without_times: Annotated[bool, typer.Option("--without-times", help="Measure no times; show those that are there.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each setting is timed.")] = 5,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each model; 0 = one a physical core.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw nDCG@10 against time there: a .png or .svg file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report there as JSON, a row a line.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure settings of rerankers beside each other: what each gains over BM25, what it takes here, and which of them nothing beats.

    Example: slimrank frontier runs/frontier --data collections/scifact --hits 10,30 --cuts 48,64,96

    Example: slimrank frontier runs/frontier --model models/deep --model models/shallow --cascade shallow:deep --plot frontier.svg
    """
    check_plot(plot)
    grid = Grid(whole_numbers("--cuts", cuts), _windows(windows), whole_numbers("--hits", hits))
    settings = process_settings.load()
    with one_at_a_time(folder):
        if data or not without_times:
            contenders = _contenders(model, threads)
            pairs = [_pair(given, contenders) for given in cascade or ()]
            for place in data or ():
                drawn = frontier_cells.draw(place, split, queries=queries, seed=seed, hits=max(grid.hits))
                _measure_set(folder, drawn, contenders, pairs, grid, keep)
            if not without_times:
                with pairs_progress("times", unit="requests") as progress:
                    measure_times(
                        folder,
                        contenders,
                        grid,
                        rounds=rounds,
                        threads=threads,
                        seed=seed,
                        home=settings.home_folder,
                        progress=progress,
                    )
        report = frontier_cells.report(folder)
    if plot is not None:
        draw_frontier(report, plot)
    if out is not None:
        with replace_text(out) as file:
            file.write(frontier.text_of(report))
    if as_json:
        typer.echo(frontier.text_of(report), nl=False)
        return
    for table in tables(report):
        print_table(table)


def _measure_set(
    folder: Path,
    drawn: Draw,
    contenders: Sequence[Contender],
    pairs: Sequence[tuple[Contender, Contender]],
    grid: Grid,
    keep: int,
) -> None:
    """Measure all models on one set, the first stages first."""
    bm25 = frontier_cells.first_stage_figures(drawn, frontier.FIRST_STAGE, drawn.run)
    frontier_cells.keep_quality(folder, drawn, frontier.FIRST_STAGE, "", [bm25])
    for contender in contenders:
        with pairs_progress(f"{drawn.name} {contender.name}", unit="cuts") as progress:
            measure_quality(folder, drawn, contender, grid, progress)
    for first, full in pairs:
        measure_cascade(folder, drawn, first, full, grid, keep=keep)
    Console(stderr=True, soft_wrap=True).print(f"{drawn.name}: {len(drawn.run)} queries", highlight=False)


def _contenders(given: Sequence[Path] | None, threads: int) -> list[Contender]:
    """Return the models, each name once."""
    settings = process_settings.load()
    folders = [store.folder_of(each, settings) for each in given or ()] or [store.model_folder(settings)]
    found = [Contender(each, threads=threads) for each in folders]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"two of the models are called {twice!r}, and a row could be of either; export one of them under another name"
        )
    return found


def _pair(given: str, contenders: Sequence[Contender]) -> tuple[Contender, Contender]:
    by_name = {each.name: each for each in contenders}
    first, _, full = given.partition(":")
    if first == full or not {first, full} <= by_name.keys():
        raise ConfigError(f"--cascade is FIRST:FULL, two of {', '.join(by_name)}, which --model names; found {given!r}")
    return by_name[first], by_name[full]


def _windows(given: str) -> list[frontier.Window]:
    found = [window for window in WINDOWS if window in given.split(",")]
    if len(found) != len(given.split(",")):
        raise ConfigError(f"--windows is head, best, or head,best; found {given!r}")
    return found
