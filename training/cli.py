"""``slimrank train``: the commands of the training stage. Parses arguments, calls the stages, prints paths and figures."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from slimrank.bm25 import FIRST_STAGE
from slimrank.errors import ConfigError, DataError
from slimrank.evaluation import Gain
from slimrank.files import parse_json, read_text
from slimrank.folders import one_at_a_time
from slimrank.tables import print_table
from slimrank.telemetry import configure_logging

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a model in two stages.")

ConfigArgument = Annotated[Path, typer.Argument(help="YAML configuration; see training/configs.")]
BaseOption = Annotated[Path | None, typer.Option(help="Folder of the base model; before the configuration's.")]
GroupsOption = Annotated[Path | None, typer.Option(help="Training groups; before the configuration's.")]
TeacherOption = Annotated[Path | None, typer.Option(help="Folder of the teacher: an .onnx file and its tokenizer.json.")]
OutOption = Annotated[Path | None, typer.Option(help="Folder of checkpoints and logs; before the configuration's.")]


@app.callback()
def _log_to_stderr() -> None:
    configure_logging("info", "%(levelname)s %(name)s %(message)s")


@app.command()
def prepare(
    config: ConfigArgument,
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    out: Annotated[Path, typer.Option(help="Where groups.jsonl goes.")],
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a teacher: an .onnx file and its tokenizer.json; several are an ensemble."),
    ] = None,
    hostile_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of groups with negatives that were written to win; before the configuration's."),
    ] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="How many groups in all; before the configuration's.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave a kind of text out, to show what it adds; may be given several times.")
    ] = None,
) -> None:
    """Make training groups: labels, hard negatives of the first stage, soft labels of a teacher.

    Example: slimrank train prepare training/configs/prepare.yaml --data collections --out groups
    """
    from training.config import PrepareConfig, read_config
    from training.prepare import prepare as make

    settings = read_config(config, PrepareConfig, hostile_share=hostile_share, groups=groups).without(without or ())
    with one_at_a_time(out):
        typer.echo(make(settings, data, out, teacher or ()))


@app.command()
def hybrid(
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    sets: Annotated[list[str], typer.Option("--set", help="FOLDER:SPLIT.")],
    teacher: Annotated[Path, typer.Option(help="Folder of the embedding model: an .onnx file and its tokenizer.json.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs, NAME.SPLIT.trec.")],
    queries: Annotated[int | None, typer.Option(min=1, help="Queries sampled from each set; left out, all.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Hits a query.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 7,
    max_tokens: Annotated[int, typer.Option(min=8, max=512, help="Texts are cut to so many tokens.")] = 512,
) -> None:
    """Search with BM25 and an embedding model, fused by reciprocal rank, and keep the hits as TREC runs.

    Example: slimrank train hybrid --data collections --set shop:dev --teacher teacher --out runs/hybrid
    """
    from slimrank import trec
    from slimrank.beir import read_collection
    from slimrank.evaluation import sample_queries
    from training.hybrid import hybrid_run
    from training.teacher import Teacher

    embedder = Teacher(teacher, max_tokens=max_tokens)
    for place in sets:
        folder, _, split = place.partition(":")
        if not split:
            raise ConfigError(f"--set is FOLDER:SPLIT, found {place}")
        collection = read_collection(data / folder, split)
        run = hybrid_run(collection, sample_queries(collection, queries, seed), embedder, depth=depth)
        path = out / f"{collection.name}.{split}.trec"
        trec.write_run(path, run, tag="hybrid")
        typer.echo(f"{path}: {len(run)} queries")


@app.command()
def baseline(
    folder: Annotated[Path, typer.Argument(help="Folder of `slimrank frontier`.")],
    teacher: Annotated[Path, typer.Option(help="Folder of the embedding model: an .onnx file and its tokenizer.json.")],
    name: Annotated[str, typer.Option(help="What its rows are called, such as bge-small.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="BEIR folder; may be given several times. Left out, times alone.")
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Runs of `slimrank train hybrid`, for the row of hybrid search.")] = None,
    hits: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of hits, default 10, 30 and 100.")] = None,
    cuts: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of documents that are computed fresh, default 64.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="As of `slimrank frontier`.")] = 50,
    split: Annotated[str, typer.Option(help="As of `slimrank frontier`.")] = "test",
    seed: Annotated[int, typer.Option(help="As of `slimrank frontier`.")] = 7,
    without_times: Annotated[bool, typer.Option("--without-times", help="Measure no times.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each setting is timed.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 2,
) -> None:
    """Put an embedding model and hybrid search beside our models on the frontier.

    Example: slimrank train baseline runs/frontier --teacher teacher --name bge-small --data collections/shop --hits 10 --hits 30
    """
    from slimrank.frontier_cells import draw
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
    typer.echo(f"{folder}: show it with `slimrank frontier {folder} --without-times`")


@app.command()
def warmup(config: ConfigArgument, base: BaseOption = None, groups: GroupsOption = None, out: OutOption = None) -> None:
    """Stage 1: learn to follow the prompt and to judge coarsely; the same command resumes a stopped run.

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
    count: Annotated[int, typer.Option("--count", min=1, help="Groups that each way takes.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        f"{found['pairs']} pairs each, load {found['load']}; the losses of the ways are at most a share of {found['losses_apart']:.1e} apart"
    )


@app.command()
def clicks(
    queries: Annotated[Path, typer.Option(help="ubi_queries as JSON lines.")],
    events: Annotated[Path, typer.Option(help="ubi_events as JSON lines.")],
    corpus: Annotated[Path, typer.Option(help="BEIR folder whose documents were shown.")],
    out: Annotated[Path, typer.Option(help="BEIR folder to write, with a train split.")],
    min_shown: Annotated[int, typer.Option(min=1, help="Times a document must have been shown for a query.")] = 3,
) -> None:
    """Make graded labels from OpenSearch UBI click logs, corrected for position bias.

    Example: slimrank train clicks --queries ubi_queries.jsonl --events ubi_events.jsonl --corpus shop --out shop-clicks
    """
    from training.clicks import read_ubi, write_collection

    count = write_collection(read_ubi(queries, events), corpus, out, min_shown=min_shown)
    typer.echo(f"{out}: {count} queries")


@app.command("average")
def average_adapters(
    checkpoints: Annotated[list[Path], typer.Argument(help="Adapters of one run.")],
    out: Annotated[Path, typer.Option(help="Folder of the averaged adapter.")],
    rank: Annotated[int | None, typer.Option(min=1, help="Its rank; left out, the last adapter's.")] = None,
) -> None:
    """Average what checkpoints add to the weights, cut to a rank, in bfloat16.

    Example: slimrank train average run/step-000560 run/step-000640 --out adapter
    """
    from training.adapter import average

    kept = average(checkpoints, out, rank=rank)
    typer.echo(f"{out}: the rank keeps {kept:.2%} of the average")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    sets: Annotated[list[str], typer.Option("--set", help="FOLDER:SPLIT, or FOLDER:SPLIT:IDS.json for some query ids.")],
    scores: Annotated[Path, typer.Option(help="Scores are kept there as they are made.")],
    base: BaseOption = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter; left out, the base model alone.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Measure this teacher in place of a model.")] = None,
    groups: Annotated[Path | None, typer.Option(help="Training groups; a query that stands in them is refused.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries sampled from each set.")] = 40,
    depth: Annotated[int, typer.Option(min=1, help="First-stage hits that are reordered.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 7,
    fusion: Annotated[float, typer.Option(min=0, help="Weight of the first-stage rank.")] = 0.0,
    runs: Annotated[
        Path | None,
        typer.Option(help="Reorder the hits of these TREC runs, NAME.SPLIT.trec, such as hybrid search's, not BM25's."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure nDCG@10 of an adapter or the teacher over several sets; scores of a stopped run are used again.

    Example: slimrank train evaluate --base BASE --adapter adapter --data collections --set shop:dev --scores scores
    """
    from slimrank.manifest import sha256_of
    from training import evaluate as evaluation
    from training.adapter import WEIGHTS_FILE
    from training.data import read_groups
    from training.scorer import TeacherScorer
    from training.teacher import Teacher

    if (base is None) == (teacher is None):
        raise ConfigError("say what to measure: --base with or without --adapter, or --teacher")
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
            raise ConfigError(f"--set is FOLDER:SPLIT, or FOLDER:SPLIT:IDS.json, found {place}")
        only = _ids(Path(ids)) if ids else None
        drawn = evaluation.sample(data / folder, split, queries=queries, depth=depth, seed=seed, only=only, runs=runs)
        if groups is not None:
            evaluation.refuse_seen(drawn, read_groups(groups))
        measured.append((drawn, evaluation.score(drawn, scorer, scores, key, lambda done, total: None)))
    rows = [evaluation.compare(drawn, found, fusion_weight=fusion) for drawn, found in measured]
    mean = evaluation.mean_gain(measured, fusion_weight=fusion)
    if json_output:
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
    scores: Annotated[Path, typer.Option(help="Scores that `slimrank evaluate --scores-folder` or `train evaluate` kept.")],
    queries: Annotated[int, typer.Option(min=1, help="As when the scores were made.")] = 40,
    depth: Annotated[int, typer.Option(min=1, help="As when the scores were made.")] = 20,
    seed: Annotated[int, typer.Option(help="As when the scores were made.")] = 7,
) -> None:
    """Fit an adapter's fusion weight and calibration on dev sets that were scored before.

    Example: slimrank train fit --adapter models/mine --data collections --set cosqa:dev --set movies:dev --scores scores
    """
    from training import evaluate as evaluation

    _check_adapter(adapter)
    measured = []
    for place in sets:
        folder, _, split = place.partition(":")
        if not split or ":" in split:
            raise ConfigError(f"--set is FOLDER:SPLIT, found {place}")
        drawn = evaluation.sample(data / folder, split, queries=queries, depth=depth, seed=seed)
        measured.append((drawn, evaluation.kept_scores(drawn, scores, queries=queries, depth=depth, seed=seed)))
    values = evaluation.fit_values(measured, first_stage=FIRST_STAGE)
    evaluation.write_values(adapter, values)
    typer.echo(json.dumps(values))


def _check_adapter(folder: Path) -> None:
    """Refuse a folder without an adapter, before a library looks for it on a hub."""
    from training.adapter import CONFIG_FILE

    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder} holds no adapter: it has no {CONFIG_FILE}; name the folder that training wrote")


def _ids(path: Path) -> frozenset[str]:
    try:
        found = parse_json(read_text(path))
        if not isinstance(found, list) or not all(isinstance(query_id, str) for query_id in found):
            raise ValueError("it is no list of strings")
    except ValueError as error:
        raise DataError(f"{path} is no list of query ids: {error}") from error
    return frozenset(found)


def _alone(output: Path) -> AbstractContextManager[None]:
    """Let one run work in a folder; of several processes of one run the first speaks for all."""
    from training import parallel

    return one_at_a_time(output) if parallel.state().is_main_process else nullcontext()


def _interval(gain: Gain) -> str:
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
