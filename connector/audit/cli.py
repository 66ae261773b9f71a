"""``slimrank audit``: a command for every step, and ``gate`` for all steps. Exit code 0 pass, 1 warn, 2 fail or error."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from connector.audit.ask.access import Access
from connector.audit.ask.plan import Cost, estimate, make_plan
from connector.audit.ask.reindex import reindex as copy_documents
from connector.audit.ask.run import run_audit
from connector.audit.compare.by_query import compare_queries
from connector.audit.compare.error_rates import error_rates
from connector.audit.compare.tally import tallied
from connector.audit.compare.verdict import EXIT_CODES
from connector.audit.flow import Steps, audit, conclude, write_report
from connector.audit.folder import Folder
from connector.audit.judge.judgments import judgments
from connector.audit.judge.sheet import write_sheet
from connector.audit.spec import JUDGED, load_spec
from connector.audit.swap import perform, prepare
from connector.audit.sweep import DEPTHS
from connector.audit.sweep import sweep as measure_depths
from slimrank.errors import ConfigError, DataError
from slimrank.files import parse_json, read_text
from slimrank.options import JsonOption
from slimrank.tables import print_table
from slimrank.types import Json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Audit a reindex: a command for every step, and `gate` for all steps. Exit code 0 pass, 1 warn, 2 fail or error.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out, err = Console(soft_wrap=True), Console(stderr=True)

SpecFile = Annotated[Path, typer.Argument(help="YAML file with the audit's specification; see `slimrank audit example`.")]
AuditFolder = Annotated[Path, typer.Argument(help="The audit's folder.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the audit. Steps that are already done in it are not repeated.")]
_LONG_HOURS = 1.0
_PATIENCE_SECONDS = 60.0


@contextmanager
def _progress() -> Iterator[Steps]:
    """Yield a function that makes a progress bar with an ETA for each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:

        def step(name: str) -> Any:
            task: TaskID = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield step


@app.command()
def example() -> None:
    """Print an example specification with every setting.

    Example: slimrank audit example > audit.yaml
    """
    typer.echo((Path(__file__).parent / "templates" / "example.yaml").read_text(encoding="utf-8"), nl=False)


@app.command()
def plan(
    spec_file: SpecFile,
    folder: Out = Path("audit"),
    sample: Annotated[int | None, typer.Option(min=1, help="Number of queries to draw, instead of sample.size.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the queries, and print how long it will take to ask them.

    Example: slimrank audit plan audit.yaml --out audit
    """
    spec, access, made = load_spec(spec_file), Access(), Folder(folder)
    if sample:
        spec = spec.model_copy(update={"sample": spec.sample.model_copy(update={"size": sample})})
    with made.at_work(begins=True), access.reach(spec) as sides:
        make_plan(spec, made, sides)
        cost = estimate(spec, made, sides)
    if as_json:
        about = {"population": made.plan["population"], "dropped_as_personal": made.plan["dropped_as_personal"]}
        typer.echo(json.dumps({**asdict(cost), **about, "seed": spec.sample.seed, "folder": str(folder)}))
        return
    _print_cost(cost, spec_file, folder)
    dropped = f", {made.plan['dropped_as_personal']} dropped as personal data" if made.plan["dropped_as_personal"] else ""
    out.print(f"{cost.queries} queries of {made.plan['population']} distinct ones{dropped}, seed {spec.sample.seed}")
    out.print(f"written to {folder}; next: slimrank audit run {folder}")


def _print_cost(cost: Cost, spec_file: Path, folder: Path) -> None:
    """Print the cost of the run; with a reranker, first the pairs and the time. If that is long, suggest a smaller sample."""
    searches = f"{cost.searches} searches"
    out.print(f"{cost.pairs} pairs to rerank, " * bool(cost.pairs) + f"about {_hours(cost.hours)}, {searches}")
    patience = _LONG_HOURS / 6 if cost.pairs else _LONG_HOURS
    if cost.hours > patience and cost.queries > 1:
        fewer = max(1, int(cost.queries * patience / cost.hours))
        out.print(
            f"{_hours(patience)} would suffice for {fewer} queries, with a sampling error {(cost.queries / fewer) ** 0.5:.1f} times as large: "
            f"slimrank audit plan {spec_file} --out {folder} --sample {fewer}"
        )


def _hours(hours: float) -> str:
    return (
        f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.0f} seconds"
    )


@app.command()
def run(
    folder: AuditFolder,
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Number of Celery workers on the queue `audit` that ask the queries; 0 asks them in this process."
        ),
    ] = 0,
) -> None:
    """Ask both sides. A run that was stopped continues where it stopped.

    Example: slimrank audit run audit
    """
    made, access = Folder(folder), Access()
    with made.at_work(), _progress() as progress:
        if workers:
            _run_in_queue(made, access, workers, progress("ask both sides"))
        with access.reach(made.spec) as sides:
            run_audit(made, sides, progress("check both sides") if workers else progress("ask both sides"))
    out.print(f"answers are in {folder}; next: slimrank audit report {folder}")


def _run_in_queue(made: Folder, access: Access, workers: int, bar: Any) -> None:
    """Send the missing chunks and wait for their files; this process asks the chunks that are still missing at the end."""
    from connector.audit.ask.tasks import enqueue
    from slimrank import settings
    from slimrank.serving.queue.celery_app import make_app

    sent = enqueue(make_app(settings.load()), made, access, workers=workers)
    left, last_seen = sent, time.monotonic()
    while left and time.monotonic() - last_seen < _PATIENCE_SECONDS:
        time.sleep(0.5)
        now = len(made.missing_chunks())
        if now < left:
            left, last_seen = now, time.monotonic()
        bar(len(made.chunks) - left, len(made.chunks))
    if left:
        err.print(
            f"{left} of {sent} chunks are missing, and none has arrived for {_PATIENCE_SECONDS:.0f} s; is a worker running on the queue audit?"
        )


@app.command()
def sheet(folder: AuditFolder, file: Annotated[Path, typer.Argument(help="CSV file to write.")]) -> None:
    """Write a sheet with the changed documents for a person to grade; then name it in `judges` as {kind: person, file: ...}.

    Example: slimrank audit sheet audit sheet.csv
    """
    made = Folder(folder)
    made.require_answers()
    if file.exists():
        raise ConfigError(
            f"asked to write the sheet to {file}, which exists and may hold grades; name another file, or remove it"
        )
    out.print(f"{write_sheet(made, file)} documents to grade from 0 to {made.spec.max_grade}, in {file}")


@app.command()
def report(folder: AuditFolder, as_json: JsonOption = False) -> None:
    """Judge the changes, find their causes, and write report.html, report.json and junit.xml.

    Example: slimrank audit report audit
    """
    made, access = Folder(folder), Access()
    with made.at_work(), access.reach(made.spec) as sides, _progress() as progress:
        found = conclude(made, sides, access, progress)
    _print(found, folder, as_json)
    raise typer.Exit(EXIT_CODES[found["verdict"]])


@app.command()
def gate(
    spec_file: SpecFile,
    folder: Out = Path("audit"),
    then: Annotated[Literal["nothing", "swap"], typer.Option(help="What to do after a pass.")] = "nothing",
    alias: Annotated[str | None, typer.Option(help="Alias to move from the old index to the new index.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the request that would move the alias instead of sending it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole audit. Exit code 0 pass, 1 warn, 2 fail. With `--then swap`, a pass moves the alias.

    Example: slimrank audit gate audit.yaml --out audit --then swap --alias products
    """
    if then == "swap" and not alias:
        raise typer.BadParameter("--then swap needs --alias NAME")
    spec, access, made = load_spec(spec_file), Access(), Folder(folder)
    with _progress() as progress:
        found = audit(spec, made, access, progress)
    _print(found, folder, as_json)
    words = err if as_json else out
    if then == "swap" and alias and found["verdict"] == "pass":
        with access.reach(spec) as sides:
            swap = prepare(made, sides, alias)
            if dry_run:
                words.print(
                    f"would send to {spec.after.url}/_aliases:\n{json.dumps({'actions': swap.actions}, indent=2)}", markup=False
                )
            else:
                perform(swap, sides)
                words.print(
                    f"alias {alias} moved. The old index is kept; to move the alias back:\n{swap.command(spec.after.url)}",
                    markup=False,
                )
    elif then == "swap":
        words.print(f"alias {alias} was not moved")
    raise typer.Exit(EXIT_CODES[found["verdict"]])


@app.command()
def reindex(
    spec_file: SpecFile,
    folder: Out = Path("audit"),
    create: Annotated[
        Path | None, typer.Option(help="Create the new index, with the settings and mappings in this JSON file.")
    ] = None,
    slices: Annotated[str, typer.Option(help="Number of parallel slices, or auto.")] = "auto",
    documents_per_second: Annotated[float, typer.Option(help="Limit of documents a second; -1 for no limit.")] = -1,
    as_json: JsonOption = False,
) -> None:
    """Copy the index of `before` into the index of `after`, then run the whole audit.

    Example: slimrank audit reindex audit.yaml --create products.json --out audit
    """
    spec, access = load_spec(spec_file), Access()
    Folder(folder).check_begins()
    body = _read_json(create) if create else None
    with access.reach(spec) as sides, _progress() as progress:
        copied = copy_documents(
            sides, body=body, slices=slices, requests_per_second=documents_per_second, progress=progress("copy documents")
        )
        (err if as_json else out).print(f"{copied.total} documents copied in {copied.seconds:.0f} s, no failures, no conflicts")
    with _progress() as progress:
        found = audit(spec, Folder(folder), access, progress)
    _print(found, folder, as_json)
    raise typer.Exit(EXIT_CODES[found["verdict"]])


@app.command()
def sweep(
    folder: AuditFolder,
    side: Annotated[Literal["before", "after"], typer.Option(help="The reranked side.")] = "after",
    depths: Annotated[str, typer.Option(help="Numbers of hits to rerank, separated by commas.")] = ",".join(map(str, DEPTHS)),
    as_json: JsonOption = False,
) -> None:
    """Measure nDCG and time for growing rerank depths, and mark the knee. The report shows the result.

    Example: slimrank audit sweep audit --depths 0,10,30,100
    """
    made, access = Folder(folder), Access()
    try:
        wanted = sorted({int(depth) for depth in depths.split(",")})
    except ValueError as error:
        raise typer.BadParameter(f"--depths takes whole numbers separated by commas; found {depths!r}") from error
    with made.at_work(), access.reach(made.spec) as sides, _progress() as progress:
        found = measure_depths(made, dict(sides.items())[side], wanted, progress("rerank"))
        write_report(made)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("hits reranked", f"nDCG@{made.spec.k}", "ms", "", box=None, pad_edge=False)
    for point in found["points"]:
        mark = "knee" if point["depth"] == found["knee"] else ""
        table.add_row(str(point["depth"]), f"{point['ndcg']:.4f}", f"{point['milliseconds']:.1f}", mark)
    print_table(table, out)


@app.command(name="calibrate")
def calibrate_verdict(
    folder: AuditFolder,
    trials: Annotated[int, typer.Option(min=100, help="Simulated audits.")] = 5_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure the verdict's false alarms and its power on this audit's differences.

    Example: slimrank audit calibrate audit
    """
    made = Folder(folder)
    start = time.monotonic()
    with tallied(compare_queries(made, judgments(made))) as tally:
        if not any(block.differences.any() for block in tally.blocks()):
            raise DataError(f"{folder} has no judged differences to simulate from: nothing changed, or nothing is judged")
        queries = sum(len(block.weights) for block in tally.blocks())
        found = error_rates(tally.blocks, trials=trials, seed=seed)
    if as_json:
        power = dict(zip(JUDGED, found.power, strict=True))
        typer.echo(
            json.dumps({"trials": trials, "queries": queries, "false_alarms": found.false_alarms, "power": power, "seed": seed})
        )
        return
    out.print(f"{trials} simulated audits of {queries} queries in {time.monotonic() - start:.0f} s, seed {seed}")
    out.print(f"false alarms, any of {len(JUDGED)} measures: {found.false_alarms:.2%} (5% promised)")
    for name, share in zip(JUDGED, found.power, strict=True):
        out.print(f"power at the minimum detectable effect of {name}: {share:.1%} (80% promised)")


def _read_json(path: Path) -> Json:
    try:
        content: Json = parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    return content


_STYLES = {"pass": "bold green", "warn": "bold yellow", "fail": "bold red"}


def _print(found: Json, folder: Path, as_json: bool) -> None:
    """Print the verdict, its reasons and the measures, or the content of report.json."""
    if as_json:
        typer.echo(json.dumps(found))
        return
    counts = found["queries"]
    style = _STYLES[found["verdict"]]
    out.print(Text.assemble((found["verdict"].upper(), style), f"  {counts['changed']} of {counts['asked']} queries changed"))
    said: set[str] = set()
    for finding in sorted(found["findings"], key=lambda finding: finding["outcome"]):
        if finding["outcome"] in ("warn", "fail") and finding["message"] not in said:
            said.add(finding["message"])
            out.print(Text.assemble((f"  {finding['outcome']}: ", _STYLES[finding["outcome"]]), finding["message"]))
    for cause in found["causes"]["causes"][:3]:
        examples = f" ({cause['examples'][0]})" if cause["examples"] else ""
        out.print(Text(f"  cause: {cause['title']}: {cause['share']:.0%} of the changed traffic{examples}"))
    if found["paired"]:
        print_table(_table(found), out)
    out.print(f"{folder / 'report.html'}")


def _table(found: Json) -> Table:
    table = Table("measure", "before", "after", "difference", "95% interval", "p worse", "detectable", box=None, pad_edge=False)
    for pair in found["paired"]:
        numbers = [_number(pair[name]) for name in ("before", "after")]
        interval = f"{pair['low']:+z.4f} {pair['high']:+z.4f}"
        name = f"{pair['measure']}@{found['k']}"
        table.add_row(
            name, *numbers, f"{pair['difference']:+z.4f}", interval, f"{pair['p_worse']:.4f}", _number(pair["minimum_detectable"])
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
