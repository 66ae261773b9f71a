"""``slimrank train``: the commands of the training stage."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from slimrank.adapters import CONFIG_FILE, WEIGHTS_FILE
from slimrank.bm25 import FIRST_STAGE
from slimrank.errors import ConfigError, DataError
from slimrank.evaluation.evaluate import Gain
from slimrank.files import parse_json, read_text
from slimrank.folders import one_at_a_time
from slimrank.options import JsonOption
from slimrank.tables import print_table
from slimrank.telemetry import configure_logging

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a model in two stages.")

ConfigArgument = Annotated[Path, typer.Argument(help="YAML configuration; see training/configs.")]
BaseOption = Annotated[Path | None, typer.Option(help="Folder of the base model; overrides the configuration.")]
GroupsOption = Annotated[Path | None, typer.Option(help="Training groups; overrides the configuration.")]
TeacherOption = Annotated[Path | None, typer.Option(help="Folder of the teacher: an .onnx file and its tokenizer.json.")]
OutOption = Annotated[Path | None, typer.Option(help="Folder of checkpoints and logs; overrides the configuration.")]


@app.callback()
def _log_to_stderr() -> None:
    configure_logging("info", "%(levelname)s %(name)s %(message)s")


@app.command()
def prepare(
    config: ConfigArgument,
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    out: Annotated[Path, typer.Option(help="Folder to write groups.jsonl to.")],
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a teacher: an .onnx file and its tokenizer.json; several teachers form an ensemble."),
    ] = None,
    hostile_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of groups with adversarial negatives; overrides the configuration."),
    ] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="Number of all groups; overrides the configuration.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Kind of text to leave out, to measure its effect; can be given several times.")
    ] = None,
) -> None:
    """Make training groups: labels, hard negatives from the first stage, soft labels from a teacher.

    Example: slimrank train prepare training/configs/prepare.yaml --data collections --out groups
    """
    from training.config import PrepareConfig, read_config
    from training.data.prepare import prepare as make

    settings = read_config(config, PrepareConfig, hostile_share=hostile_share, groups=groups).without(without or ())
    with one_at_a_time(out):
        typer.echo(make(settings, data, out, teacher or ()))


@app.command()
def hybrid(
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    sets: Annotated[list[str], typer.Option("--set", help="FOLDER:SPLIT; can be given several times.")],
    teacher: Annotated[Path, typer.Option(help="Folder of the embedding model: an .onnx file and its tokenizer.json.")],
    out: Annotated[Path, typer.Option(help="Folder to write the runs to, NAME.SPLIT.trec.")],
    queries: Annotated[int | None, typer.Option(min=1, help="Queries sampled from each set; default all.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Hits for each query.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 7,
    max_tokens: Annotated[int, typer.Option(min=8, max=512, help="Texts are cut to this many tokens.")] = 512,
) -> None:
    """Search with BM25 and an embedding model, and write the fused hits as TREC runs.

    Both rankings are fused by reciprocal rank.

    Example: slimrank train hybrid --data collections --set shop:dev --teacher teacher --out runs/hybrid
    """
    from slimrank.evaluation import trec
    from slimrank.evaluation.beir import read_collection
    from slimrank.evaluation.evaluate import sample_queries
    from training.data.hybrid import hybrid_run
    from training.data.teacher import Teacher

    embedder = Teacher(teacher, max_tokens=max_tokens)
    for place in sets:
        folder, _, split = place.partition(":")
        if not split:
            raise ConfigError(f"--set must be FOLDER:SPLIT, found {place}")
        collection = read_collection(data / folder, split)
        run = hybrid_run(collection, sample_queries(collection, queries, seed), embedder, depth=depth)
        path = out / f"{collection.name}.{split}.trec"
        trec.write_run(path, run, tag="hybrid")
        typer.echo(f"{path}: {len(run)} queries")


@app.command()
def baseline(
    folder: Annotated[Path, typer.Argument(help="Folder that `slimrank frontier` wrote.")],
    teacher: Annotated[Path, typer.Option(help="Folder of the embedding model: an .onnx file and its tokenizer.json.")],
    name: Annotated[str, typer.Option(help="Name of the model's rows, such as bge-small.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="BEIR folder; can be given several times. Without it, only times are measured.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs from `slimrank train hybrid`, for the row of hybrid search.")
    ] = None,
    hits: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of hits; can be given several times, default 10, 30 and 100.")
    ] = None,
    cuts: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of a document whose vector is computed for the search, default 64.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="As given to `slimrank frontier`.")] = 50,
    split: Annotated[str, typer.Option(help="As given to `slimrank frontier`.")] = "test",
    seed: Annotated[int, typer.Option(help="As given to `slimrank frontier`.")] = 7,
    without_times: Annotated[bool, typer.Option("--without-times", help="Do not measure times.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How many times each setting is timed.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 2,
) -> None:
    """Measure an embedding model and hybrid search, to compare with our models on the frontier.

    Example: slimrank train baseline runs/frontier --teacher teacher --name bge-small --data collections/shop --hits 10 --hits 30
    """
    from slimrank.evaluation.frontier_cells import draw
    from slimrank.manifest import sha256_of
    from training.baseline import Baseline, measure_hybrid

    numbers = hits or [10, 30, 100]
    compared = Baseline(teacher, name, hits=numbers, cuts=cuts or [64], threads=threads)
    model = sha256_of(next(iter(sorted(teacher.glob("*.onnx")))))
    with one_at_a_time(folder):
        for place in data or ():
            drawn = draw(place, split, queries=queries, seed=seed, hits=max(numbers))
            compared.measure_quality(folder, drawn, model)
            if runs is not None:
                measure_hybrid(folder, drawn, runs)
            typer.echo(f"{drawn.name}: {len(drawn.run)} queries")
        if not without_times:
            compared.measure_times(folder, model, rounds=rounds, threads=threads, seed=seed)
    typer.echo(f"{folder}: show the figures with `slimrank frontier {folder} --without-times`")


@app.command()
def warmup(config: ConfigArgument, base: BaseOption = None, groups: GroupsOption = None, out: OutOption = None) -> None:
    """Stage 1: learn to follow the prompt and to judge coarsely.

    The same command resumes a stopped run.

    Example: slimrank train warmup training/configs/warmup.yaml --base BASE --groups groups/groups.jsonl --out warmup
    """
    from training.config import WarmupConfig, read_config
    from training.warmup import train

    settings = read_config(config, WarmupConfig, model__base=base, groups=groups, output=out)
    with _alone(settings.output):
        typer.echo(train(settings))


@app.command()
def finegrained(
    config: ConfigArgument,
    base: BaseOption = None,
    groups: GroupsOption = None,
    out: OutOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Stage 2: learn fine-grained scores; the same command resumes a stopped run.

    Example: slimrank train finegrained training/configs/finegrained.yaml --base BASE --groups groups/groups.jsonl --out run
    """
    from training.config import FinegrainedConfig, read_config
    from training.finegrained import train

    settings = read_config(config, FinegrainedConfig, model__base=base, groups=groups, output=out, teacher=teacher)
    with _alone(settings.output):
        typer.echo(train(settings))


@app.command()
def speed(
    config: ConfigArgument,
    base: BaseOption = None,
    groups: GroupsOption = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of groups to measure on.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast stage 2 learns on this machine.

    Example: slimrank train speed training/configs/finegrained.yaml --base BASE --groups groups/groups.jsonl
    """
    from training.config import FinegrainedConfig, read_config
    from training.speed import measure

    found = measure(read_config(config, FinegrainedConfig, model__base=base, groups=groups), groups=count)
    if as_json:
        typer.echo(json.dumps(found | {"ways": [asdict(way) for way in found["ways"]]}))
        return
    table = Table(
        "way",
        "pairs a second",
        "pairs a processor second",
        "times the first",
        title=f"Stage 2 on {found['machine']}, {found['date']}",
    )
    for way in found["ways"]:
        table.add_row(way.way, f"{way.pairs_per_second:.2f}", f"{way.pairs_per_processor_second:.2f}", f"{way.times:.2f}")
    print_table(table)
    typer.echo(
        f"{found['pairs']} pairs each, load {found['load']}; the losses of the ways differ by at most a share of {found['losses_apart']:.1e}"
    )


@app.command()
def clicks(
    queries: Annotated[Path, typer.Option(help="ubi_queries as JSON lines.")],
    events: Annotated[Path, typer.Option(help="ubi_events as JSON lines.")],
    corpus: Annotated[Path, typer.Option(help="BEIR folder whose documents were shown.")],
    out: Annotated[Path, typer.Option(help="BEIR folder to write, with a train split.")],
    min_shown: Annotated[int, typer.Option(min=1, help="How often a document must have been shown for a query.")] = 3,
) -> None:
    """Make graded labels from OpenSearch UBI click logs, corrected for position bias.

    Example: slimrank train clicks --queries ubi_queries.jsonl --events ubi_events.jsonl --corpus shop --out shop-clicks
    """
    from training.data.clicks import read_ubi, write_collection

    count = write_collection(read_ubi(queries, events), corpus, out, min_shown=min_shown)
    typer.echo(f"{out}: {count} queries")


@app.command()
def debian(
    out: Annotated[Path, typer.Option(help="Folder to write the collections to, one folder for each.")],
) -> None:
    """Make collections of many kinds of text out of Debian packages, on any Debian machine.

    Packages are fetched with apt and only read: nothing is installed.

    Example: slimrank train debian --out collections
    """
    from training.data.debian import write_collections

    write_collections(out)


@app.command("average")
def average_adapters(
    checkpoints: Annotated[list[Path], typer.Argument(help="Adapters of one run.")],
    out: Annotated[Path, typer.Option(help="Folder of the averaged adapter.")],
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the averaged adapter; default that of the last one.")] = None,
) -> None:
    """Average the adapters of several checkpoints into one adapter of a given rank, in bfloat16.

    Example: slimrank train average run/step-000560 run/step-000640 --out adapter
    """
    from training.adapter import average

    kept = average(checkpoints, out, rank=rank)
    typer.echo(f"{out}: the rank keeps {kept:.2%} of the average")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    sets: Annotated[list[str], typer.Option("--set", help="FOLDER:SPLIT, or FOLDER:SPLIT:IDS.json for some query ids.")],
    scores: Annotated[Path, typer.Option(help="Folder to store the scores in.")],
    base: BaseOption = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter; default the base model alone.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Measure this teacher instead of a model.")] = None,
    groups: Annotated[Path | None, typer.Option(help="Training groups; a query that occurs in them is refused.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries sampled from each set.")] = 40,
    depth: Annotated[int, typer.Option(min=1, help="First-stage hits that are reordered.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 7,
    fusion: Annotated[float, typer.Option(min=0, help="Weight of the first-stage rank.")] = 0.0,
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder of TREC runs, NAME.SPLIT.trec; their hits are reordered instead of BM25's."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure nDCG@10 of an adapter or a teacher on several sets.

    Stored scores of a stopped run are used again.

    Example: slimrank train evaluate --base BASE --adapter adapter --data collections --set shop:dev --scores scores
    """
    from slimrank.manifest import sha256_of
    from training import evaluate as evaluation
    from training.data.groups import read_groups
    from training.data.teacher import Teacher
    from training.scorer import TeacherScorer

    if (base is None) == (teacher is None):
        raise ConfigError("give either --base, with or without --adapter, or --teacher")
    if adapter is not None:
        _check_adapter(adapter)
    scorer = TeacherScorer(Teacher(teacher)) if teacher else evaluation.torch_scorer(base or Path(), adapter)
    key = {
        "model": sha256_of(adapter / WEIGHTS_FILE) if adapter else str(base or teacher),
        "queries": queries,
        "depth": depth,
        "seed": seed,
        **({"runs": str(runs)} if runs else {}),
    }
    measured = []
    for place in sets:
        folder, split, ids = (*place.split(":", 2), "", "")[:3]
        if not split:
            raise ConfigError(f"--set must be FOLDER:SPLIT or FOLDER:SPLIT:IDS.json, found {place}")
        only = _ids(Path(ids)) if ids else None
        drawn = evaluation.sample(data / folder, split, queries=queries, depth=depth, seed=seed, only=only, runs=runs)
        if groups is not None:
            evaluation.refuse_seen(drawn, read_groups(groups))
        measured.append((drawn, evaluation.score(drawn, scorer, scores, key, lambda done, total: None)))
    rows = [evaluation.compare(drawn, found, fusion_weight=fusion) for drawn, found in measured]
    mean = evaluation.mean_gain(measured, fusion_weight=fusion)
    if as_json:
        typer.echo(json.dumps({"sets": [asdict(row) for row in rows], "mean_gain": asdict(mean), "fusion_weight": fusion}))
        return
    table = Table(
        title=f"{'The run' if runs else 'BM25'}'s top {depth} -> reordered, nDCG@10, fusion {fusion}, {queries} queries a set, seed {seed}"
    )
    for name in ("set", "queries", "before", "after", "gain [95% interval]"):
        table.add_column(name)
    for row in rows:
        table.add_row(row.name, str(row.queries), f"{row.before:.3f}", f"{row.after:.3f}", _interval(row.gain))
    table.add_row("mean of sets", "", "", "", _interval(mean))
    print_table(table)


@app.command()
def fit(
    adapter: Annotated[Path, typer.Option(help="Adapter whose slimrank.json is written.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    sets: Annotated[list[str], typer.Option("--set", help="FOLDER:SPLIT; dev sets only.")],
    scores: Annotated[Path, typer.Option(help="Folder of scores from `slimrank evaluate --scores-folder` or `train evaluate`.")],
    queries: Annotated[int, typer.Option(min=1, help="As when the scores were made.")] = 40,
    depth: Annotated[int, typer.Option(min=1, help="As when the scores were made.")] = 20,
    seed: Annotated[int, typer.Option(help="As when the scores were made.")] = 7,
) -> None:
    """Fit an adapter's fusion weight and calibration on the scores of dev sets.

    Example: slimrank train fit --adapter models/mine --data collections --set cosqa:dev --set movies:dev --scores scores
    """
    from training import evaluate as evaluation

    _check_adapter(adapter)
    measured = []
    for place in sets:
        folder, _, split = place.partition(":")
        if not split or ":" in split:
            raise ConfigError(f"--set must be FOLDER:SPLIT, found {place}")
        drawn = evaluation.sample(data / folder, split, queries=queries, depth=depth, seed=seed)
        measured.append((drawn, evaluation.kept_scores(drawn, scores, queries=queries, depth=depth, seed=seed)))
    values = evaluation.fit_values(measured, first_stage=FIRST_STAGE)
    evaluation.write_values(adapter, values)
    typer.echo(json.dumps(values))


def _check_adapter(folder: Path) -> None:
    """Refuse a folder without an adapter; a library would look for it on a hub."""
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder} is not an adapter: it has no {CONFIG_FILE}; name the folder that training wrote")


def _ids(path: Path) -> frozenset[str]:
    try:
        found = parse_json(read_text(path))
        if not isinstance(found, list) or not all(isinstance(query_id, str) for query_id in found):
            raise ValueError("it must be a JSON list of strings")
    except ValueError as error:
        raise DataError(f"{path} is not a list of query ids: {error}") from error
    return frozenset(found)


def _alone(output: Path) -> AbstractContextManager[None]:
    """Let one run at a time work in a folder; of a run's processes, the first takes the lock."""
    from training import parallel

    return one_at_a_time(output) if parallel.state().is_main_process else nullcontext()


def _interval(gain: Gain) -> str:
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
