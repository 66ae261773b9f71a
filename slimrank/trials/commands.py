"""Commands that use a model in this process, with no server: ``slimrank rank`` and ``slimrank evaluate``."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from slimrank import manifest as manifests
from slimrank import settings, store
from slimrank.bm25 import FIRST_STAGE
from slimrank.engine.cascade import CascadeScorer
from slimrank.engine.jobs import Depth, DocumentWindow, LongDocument
from slimrank.engine.reranker import Reranker
from slimrank.errors import ConfigError, DataError
from slimrank.evaluation import trec
from slimrank.evaluation.beir import read_collection
from slimrank.evaluation.evaluate import Evaluation, Gain, OrderQuality, ScoreFile, evaluate, mean_gain
from slimrank.evaluation.splits import shared_with_train
from slimrank.files import STANDARD_INPUT, open_text, parse_json
from slimrank.manifest import Fusion, Manifest
from slimrank.options import (
    DEPTH,
    SEED,
    SPLIT,
    DataOption,
    DepthOption,
    JsonOption,
    QueriesOption,
    SeedOption,
    SplitOption,
    whole_numbers,
)
from slimrank.processor import conditions
from slimrank.prompt import document_text, encodable
from slimrank.scoring import Scorer, probabilities
from slimrank.tables import print_table
from slimrank.trials.cuts import cuts_table, measure_cuts
from slimrank.trials.plots import check_plot, draw_depths

ModelOption = Annotated[
    Path | None, typer.Option(help="Model folder, or a shipped name; left out, the default model. Pulled on first use.")
]
LongDocumentOption = Annotated[str, typer.Option(help="truncate, or max_passage: the best passage of a long document counts.")]
DocumentWindowOption = Annotated[
    str, typer.Option(help="Where a document is cut: head, or best: the window that shares most with the query.")
]
DocumentTokensOption = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a document that are read; left out, what fits. A gateway on a CPU reads 96 by default."),
]
ThreadsOption = Annotated[int | None, typer.Option(help="Threads of the model; 0 = one a physical core.")]


def rank(
    file: Annotated[
        Path,
        typer.Argument(help="Documents: JSON lines (a string, or an object with `text`) or plain lines; - reads standard input."),
    ],
    query: Annotated[str, typer.Option(help="What to search for.")],
    model: ModelOption = None,
    top_n: Annotated[int | None, typer.Option(min=1, help="Print only the best.")] = None,
    instruction: Annotated[str | None, typer.Option(help="How to judge, such as 'prefer recent manuals'.")] = None,
    first_stage_order: Annotated[
        bool, typer.Option("--first-stage-order", help="The lines stand in a search engine's order: use it as a prior.")
    ] = False,
    deadline_ms: Annotated[
        int | None, typer.Option(min=1, help="Score only what there is time for, from the first line.")
    ] = None,
    depth: Annotated[str | None, typer.Option(help="Score so many lines, from the first; auto = what fits the deadline.")] = None,
    long_document: LongDocumentOption = "truncate",
    document_window: DocumentWindowOption = "head",
    document_tokens: DocumentTokensOption = None,
    text: Annotated[bool, typer.Option("--text", help="Print each document's text as well.")] = False,
    threads: ThreadsOption = None,
) -> None:
    """Rank lines of a file for a query; prints JSON lines, best first.

    Example: printf 'a spoon\\na fork\\n' | slimrank rank --query cutlery -
    """
    documents = list(_documents(file))
    reranker, _ = _load(model, threads)
    hits = reranker.rank(
        query,
        documents,
        top_n=top_n,
        instruction=instruction,
        first_stage_order=first_stage_order,
        deadline_ms=deadline_ms,
        depth=_depth(depth),
        long_document=_long_document(long_document),
        document_window=_document_window(document_window),
        document_tokens=document_tokens,
    )
    for hit in hits:
        record = {"index": hit.index, "score": hit.score, "probability": hit.probability}
        record |= {} if hit.is_scored else {"is_scored": False}
        typer.echo(json.dumps(record | ({"text": documents[hit.index]} if text else {}), ensure_ascii=False))


def evaluate_collections(
    data: DataOption,
    model: ModelOption = None,
    split: SplitOption = SPLIT,
    depth: DepthOption = DEPTH,
    queries: QueriesOption = None,
    seed: SeedOption = SEED,
    fusion_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of BM25's order beside the score; left out, what the model was fitted with; 0, none."),
    ] = None,
    run_folder: Annotated[Path | None, typer.Option(help="Write the runs there as TREC files.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Rerank the hits of TREC runs there, NAME.SPLIT.trec, such as hybrid search's, not BM25's."),
    ] = None,
    long_document: LongDocumentOption = "truncate",
    scores_folder: Annotated[Path | None, typer.Option(help="Keep scores there as they are made, and go on from them.")] = None,
    cascade_model: Annotated[
        Path | None,
        typer.Option(
            help="Cheaper model that narrows the hits first, as in serving: its folder or a shipped name; left out, none."
        ),
    ] = None,
    cascade_keep: Annotated[int, typer.Option(min=1, help="Hits that it lets through to the full model.")] = 30,
    document_window: DocumentWindowOption = "head",
    document_tokens: DocumentTokensOption = None,
    cuts: Annotated[
        str | None, typer.Option(help="Measure these cuts of documents instead, head beside best window, such as 48,64,96.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw nDCG@10 by how many hits are reranked there: a .png or .svg file.")
    ] = None,
    as_json: JsonOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Measure a collection before and after reranking BM25's hits.

    After is what a connector gives: the score with BM25's order as a prior, where the model has a weight for it; what the
    scores alone give is measured beside it. A query that also stands in the collection's train split is left out.

    Example: slimrank evaluate --data collections/scifact --depth 50 --queries 100 --seed 7

    Example: slimrank evaluate --model slimrank-135m --data collections/scifact

    Example: slimrank evaluate --data collections/scifact --depth 30 --cuts 48,64,96,128,192,320
    """
    check_plot(plot)
    now = conditions()
    reranker, manifest = _load(model, threads)
    scorer: Scorer = reranker.scorer_for(_long_document(long_document), _document_window(document_window), document_tokens)
    weight = fitted_weight(manifest.fusion) if fusion_weight is None else fusion_weight
    model_id = {name: record.sha256 for name, record in manifest.files.items()}
    if cascade_model is not None:
        first, first_manifest = _load(cascade_model, threads)
        scorer = CascadeScorer(first.scorer, scorer, keep=cascade_keep)
        model_id |= {f"cascade {name} {cascade_keep}": record.sha256 for name, record in first_manifest.files.items()}
    if cuts is not None:
        others = {
            "--cascade-model": cascade_model,
            "--runs": runs,
            "--run-folder": run_folder,
            "--document-tokens": document_tokens,
        }
        others |= {"--long-document": long_document != "truncate", "--document-window": document_window != "head"}
        if ignored := [name for name, value in others.items() if value]:
            raise ConfigError(
                f"--cuts measures BM25's hits at each cut and both windows, and takes no {', '.join(ignored)}; leave it out"
            )
        _show_cuts(
            data,
            split,
            reranker,
            whole_numbers("--cuts", cuts),
            depth,
            queries,
            seed,
            weight,
            scores_folder,
            model_id,
            as_json,
        )
        return
    results = []
    for folder in data:
        collection = read_collection(folder, split)
        if run_folder is not None:  # now, and not after an hour of scoring
            trec.check_columns(dict.fromkeys(collection.queries, collection.documents))
        key = {"model": model_id, "collection": collection.name, "split": split, "depth": depth, "queries": queries, "seed": seed}
        key |= {} if long_document == "truncate" else {"long_document": long_document}
        key |= {"runs": str(runs)} if runs else {}
        key |= {} if document_window == "head" else {"document_window": document_window}
        key |= {} if document_tokens is None else {"document_tokens": document_tokens}
        kept = ScoreFile(scores_folder / f"{collection.name}.{split}.jsonl" if scores_folder else None, key)
        with pairs_progress(collection.name) as progress:
            result = evaluate(
                collection,
                scorer,
                depth=depth,
                queries=queries,
                seed=seed,
                fusion_weight=weight,
                shared=shared_with_train(folder, split),
                kept=kept,
                hits=runs and runs / f"{collection.name}.{split}.trec",
                probability=lambda scores: probabilities(scores, **manifest.calibration.model_dump()),
                progress=progress,
            )
        if run_folder is not None:
            _write_runs(run_folder / f"{collection.name}.{split}", result, manifest.name, first_stage="run" if runs else "bm25")
        results.append(result)
    if plot is not None:
        draw_depths({result.name: _curve(result, depth) for result in results}, now | {"model": manifest.name}, plot)
    if as_json:
        typer.echo(json.dumps(record_of(results[0]) if len(results) == 1 else _sets_as_json(results), indent=2))
        return
    print_table(_table(results, depth, first_stage="the run" if runs else "BM25"))
    print_table(_sweep_table(results))
    console = Console(soft_wrap=True)
    for note in _notes(results):
        console.print(note, markup=False)


def _curve(result: Evaluation, depth: int) -> dict[int, float]:
    """Return nDCG@10 by depth, from none reranked to all."""
    return {0: result.before["nDCG@10"], **result.sweep, depth: result.after.measures["nDCG@10"]}


def _show_cuts(
    data: list[Path],
    split: str,
    reranker: Reranker,
    cuts: list[int],
    depth: int,
    queries: int | None,
    seed: int,
    weight: float,
    scores_folder: Path | None,
    model_id: dict[str, str],
    as_json: bool,
) -> None:
    """Measure cuts of each collection and print them."""
    report = []
    for folder in data:
        collection = read_collection(folder, split)
        key = {"model": model_id, "collection": collection.name, "split": split, "depth": depth, "seed": seed, "cuts": cuts}
        file = scores_folder / f"{collection.name}.{split}.cuts.jsonl" if scores_folder else None
        with pairs_progress(collection.name) as progress:
            before, found = measure_cuts(
                collection,
                reranker,
                cuts,
                depth=depth,
                queries=queries,
                seed=seed,
                fusion_weight=weight,
                left_out=shared_with_train(folder, split).query_ids,
                kept=ScoreFile(file, key | {"queries": queries}),
                progress=progress,
            )
        report.append({"name": collection.name, "before": dict(before), "cuts": [asdict(cut) for cut in found]})
        if not as_json:
            print_table(cuts_table(collection.name, before, found))
    if as_json:
        typer.echo(json.dumps(report, indent=2))


def fitted_weight(fusion: Fusion | None) -> float:
    """Return the weight that a model was fitted with for the first stage used here, 0 where it has none."""
    return fusion.weight if fusion is not None and fusion.first_stage == FIRST_STAGE else 0.0


def record_of(result: Evaluation) -> dict[str, Any]:
    """Return an evaluation as ``--json`` prints it; ``ci95`` is the interval of nDCG@10's gain."""
    return {
        "name": result.name,
        "before": dict(result.before),
        "after": dict(result.after.measures),
        "gain": _gain(result.after),
        "fusion_weight": result.fusion_weight,
        "after_scores_only": dict(result.scores_only.measures),
        "gain_scores_only": _gain(result.scores_only),
        "queries": result.queries,
        "queries_left_out": result.left_out,
        "documents_shared_with_train": result.shared.documents,
        "pairs": result.pairs,
        "pairs_per_second": _finite(result.pairs_per_second),
        "sweep": {str(depth): value for depth, value in result.sweep.items()},
        "calibration_error": _finite(result.calibration_error),
    }


def _sets_as_json(results: list[Evaluation]) -> dict[str, Any]:
    after, scores_only = (mean_gain([outcome.changes for outcome in outcomes]) for outcomes in _outcomes(results))
    return {
        "sets": [record_of(result) for result in results],
        "mean_gain": {"nDCG@10": after.mean, "ci95": [after.low, after.high]},
        "mean_gain_scores_only": {"nDCG@10": scores_only.mean, "ci95": [scores_only.low, scores_only.high]},
    }


def _gain(outcome: OrderQuality) -> dict[str, Any]:
    ndcg = outcome.gains["nDCG@10"]
    return {name: gain.mean for name, gain in outcome.gains.items()} | {"ci95": [ndcg.low, ndcg.high]}


def _write_runs(stem: Path, result: Evaluation, model: str, *, first_stage: str) -> None:
    """Write the first stage's run, ours, and that of the scores alone where it is another."""
    runs = {first_stage: result.first_stage, "slimrank": result.after.run}
    if result.fusion_weight:
        runs["slimrank-scores"] = result.scores_only.run
    for name, run in runs.items():
        trec.write_run(stem.with_name(f"{stem.name}.{name}.trec"), run, tag=first_stage if name == first_stage else model)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _table(results: list[Evaluation], depth: int, *, first_stage: str) -> Table:
    weight = results[0].fusion_weight
    table = Table(
        title=f"{first_stage}'s top {depth}, before -> after reranking, its order weighing {weight:g}", title_justify="left"
    )
    table.add_column("collection")
    for name in ("queries", "nDCG@10", "gain [95% interval]", "scores only", "RR@10", "Judged@10", "pairs/s"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            result.name,
            str(result.queries),
            _change(result, "nDCG@10"),
            _interval(result.after.gains["nDCG@10"]),
            _interval(result.scores_only.gains["nDCG@10"]),
            _change(result, "RR@10"),
            _change(result, "Judged@10"),
            f"{result.pairs_per_second:.1f}",
        )
    if len(results) > 1:
        means = (mean_gain([outcome.changes for outcome in outcomes]) for outcomes in _outcomes(results))
        table.add_row("mean of sets", "", "", *map(_interval, means))
    return table


def _sweep_table(results: list[Evaluation]) -> Table:
    depths = list(results[0].sweep)
    table = Table(title="nDCG@10 by how many hits are reranked; gap of probability and share of relevant", title_justify="left")
    table.add_column("collection")
    for depth in depths:
        table.add_column(str(depth), justify="right")
    table.add_column("calibration error", justify="right")
    for result in results:
        table.add_row(result.name, *(f"{result.sweep[depth]:.3f}" for depth in depths), f"{result.calibration_error:.3f}")
    return table


def _notes(results: list[Evaluation]) -> Iterator[str]:
    for result in results:
        if result.left_out:
            yield f"{result.name}: {result.left_out} queries left out, which also stand in the train split"
        if result.shared.documents:
            yield f"{result.name}: {result.shared.documents} judged documents are judged in the train split too"


def _outcomes(results: list[Evaluation]) -> tuple[list[OrderQuality], list[OrderQuality]]:
    return [result.after for result in results], [result.scores_only for result in results]


def _interval(gain: Gain) -> Text:
    colour = "green" if gain.low > 0 else "red" if gain.high < 0 else ""
    return Text(f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]", style=colour)


def _change(result: Evaluation, name: str) -> str:
    return f"{result.before[name]:.3f} -> {result.after.measures[name]:.3f}"


@contextmanager
def pairs_progress(title: str, unit: str = "pairs") -> Iterator[Callable[[int, int], None]]:
    """Show a bar of scored pairs, or of other units, on standard error while a terminal watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _load(model: Path | None, threads: int | None) -> tuple[Reranker, Manifest]:
    current = settings.load(model=model, threads=threads)
    folder = store.model_folder(current)
    return Reranker.load(folder, threads=current.threads), manifests.read(folder)


def _depth(given: str | None) -> Depth | None:
    if given is None or given == "auto":
        return given  # type: ignore[return-value]  # mypy does not narrow to a literal
    if not given.isdigit():
        raise ConfigError(f"--depth is a number of lines or auto, found {given}")
    return int(given)


def _long_document(given: str) -> LongDocument:
    if given == "truncate" or given == "max_passage":
        return given  # type: ignore[return-value]  # as above
    raise ConfigError(f"--long-document is truncate or max_passage, found {given}")


def _document_window(given: str) -> DocumentWindow:
    if given == "head" or given == "best":
        return given  # type: ignore[return-value]  # as above
    raise ConfigError(f"--document-window is head or best, found {given}")


def _documents(file: Path) -> Iterator[str]:
    is_empty = True
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                is_empty = False
                yield encodable(_text_of(line.rstrip("\r\n"), f"{file}:{number}"))  # JSON may spell what no terminal takes
    if is_empty:
        raise DataError(f"{'standard input' if file == STANDARD_INPUT else file} is empty; give a document a line")


def _text_of(line: str, place: str) -> str:
    """Return a line's document: a JSON string, the text of a JSON object, or the line itself."""
    if not _looks_like_json(line):
        return line
    try:
        record = parse_json(line)
    except ValueError as error:
        raise DataError(f"{place}: not JSON ({error}), though it looks like it; found {line[:80]}") from error
    if isinstance(record, str):
        return record
    if isinstance(record, dict) and isinstance(record.get("text"), str) and isinstance(record.get("title", ""), str | None):
        return document_text(record.get("title") or "", record["text"])
    raise DataError(f"{place}: expected a string or an object with a string `text`; found {line[:80]}")


_OBJECT_OR_STRING = re.compile(r'\s*(?:\{\s*\}|\{\s*"[^"]*(?:"\s*(?::|$)|$)|"(?:[^"\\]|\\.)*"\s*$)')


def _looks_like_json(line: str) -> bool:
    """Tell a JSON string or object, even one cut short, from a plain line that begins with a brace or a quotation mark."""
    return _OBJECT_OR_STRING.match(line) is not None
