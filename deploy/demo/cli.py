"""The command ``slimrank demo``: search and rerank on this machine, without a server.

It makes the model and the corpus, searches with BM25, reranks with BM25's order as a prior, and shows both lists side
by side with their times. The corpus is the documentation of the running Python, so that any Python
user can judge the answers. Six questions are shown, chosen to show what reranking can do and what it cannot do. Six are
too few to measure the gain, so the figure over all judged questions comes last (``deploy.demo.measure``).
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.demo import BEGAN
from deploy.demo.figures import FIGURES_FILE, read_figures
from slimrank import manifest as manifests
from slimrank import settings, store
from slimrank.bm25 import BM25
from slimrank.engine.reranker import Reranker
from slimrank.errors import DataError
from slimrank.evaluation import measures
from slimrank.evaluation.beir import Collection, read_collection
from slimrank.evaluation.python_docs import corpus
from slimrank.manifest import Manifest
from slimrank.options import JsonOption

SHOWCASE = ("blocking-in-async", "slurp-file", "count-cores", "constant-time", "cleanup-at-exit", "mutual-exclusion")
"""In four of these the right answer rises, as in most questions; in one it falls; and in one BM25 does not find it."""
EXPECT = (
    "What to expect: a right answer that BM25 ranks low often rises to the top, and sometimes a right answer falls. Reranking changes only"
    " the order of BM25's hits, so it cannot show an answer that BM25 does not find. The six questions were chosen to show all three"
    " cases; the figure over all judged questions comes last."
)
RIGHT = 2
"""The grade of a document that answers the question."""
CHARACTERS = 600
"""The part of a documentation string that the model reads: about 150 tokens, as in the default model's training. Its first lines say
what it is about."""
UNTRAINED = "This model was not trained to judge relevance: expect its order to be WORSE than BM25's."


@dataclass(frozen=True, slots=True)
class Comparison:
    """One query's hits, as document ids, before and after reranking, and the time of each stage."""

    query: str
    first_stage: Sequence[str]
    reranked: Sequence[str]
    judged: dict[str, int]
    first_stage_seconds: float
    rerank_seconds: float

    def ndcg_at_10(self) -> tuple[float, float] | None:
        """Return nDCG@10 before and after, or None for a query without judgments."""
        if not self.judged:
            return None
        before, after = (
            measures.mean({"q": self.judged}, {"q": {doc_id: -float(place) for place, doc_id in enumerate(order)}}, ["nDCG@10"])
            for order in (self.first_stage, self.reranked)
        )
        return before["nDCG@10"], after["nDCG@10"]


def demo(
    query: Annotated[list[str] | None, typer.Option(help="Your own query; can be given several times.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="First-stage hits that are reranked.")] = 10,
    model: Annotated[
        Path | None,
        typer.Option(
            help=f"Model folder, or the name of a shipped model, which is made on first use; default {settings.DEFAULT_MODEL_NAME}."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the Python documentation, and show BM25's list beside the reranked list.

    Example: slimrank demo --query "run a shell command and capture its output" --depth 30
    """
    console, out = Console(stderr=True), Console()
    current = settings.load(model=model)
    store.place_of(current.model, current)  # a wrong name is refused before anything is read
    place = current.home_folder / "demo" / f"python-{sys.version_info.major}.{sys.version_info.minor}"
    with ThreadPoolExecutor(1) as beside:  # making the model does not use all cores at first
        library = beside.submit(read_library, place)
        folder = store.model_folder(current)
        with console.status("Loading the model and reading the documentation of this Python"):
            reranker = Reranker.load(folder, threads=current.threads)
            collection, index = library.result()
    manifest = manifests.read(folder)
    if not as_json:
        _introduce(out, collection, manifest, is_showcase=not query)
    comparisons = []
    for asked in _questions(collection, query):
        with console.status(f"Reranking: {asked}"):
            comparisons.append(compare(collection, index, reranker, asked, depth))
        if not as_json:  # show each answer when it is there
            out.print(_table(comparisons[-1]), "")
            if len(comparisons) == 1:
                out.print(
                    f"First answer after {perf_counter() - BEGAN:.0f} s, counted from the start of this command.\n", style="dim"
                )
    if as_json:
        typer.echo(json.dumps([record_of(comparison) for comparison in comparisons], indent=2))
    else:
        out.print("Ask your own: [bold]slimrank demo --query 'how do I …'[/]")
        out.print(_verdict(comparisons, collection, place, depth, manifest), markup=False)


def read_library(place: Path) -> tuple[Collection, BM25]:
    """Return the documentation of this Python with its judged questions, and its index; build the corpus on first use."""
    corpus.build(place)
    collection = read_collection(place, "test")
    return collection, BM25({doc_id: document.content for doc_id, document in collection.documents.items()})


def compare(collection: Collection, index: BM25, reranker: Reranker, query: str, depth: int) -> Comparison:
    """Search and rerank, and measure the time of both.

    Raises:
        DataError: the first stage finds nothing.
    """
    start = perf_counter()
    hits = list(index.search(query, depth))
    searched = perf_counter()
    if not hits:
        raise DataError(f"no documentation shares a word with {query!r}; ask with other words")
    documents = [collection.documents[doc_id].content[:CHARACTERS] for doc_id in hits]
    ranked = reranker.rank(query, documents, first_stage_order=True)
    done = perf_counter()
    judged = {text: dict(collection.qrels[query_id]) for query_id, text in collection.queries.items()}
    return Comparison(query, hits, [hits[hit.index] for hit in ranked], judged.get(query, {}), searched - start, done - searched)


def record_of(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as ``--json`` prints it."""
    ndcg = comparison.ndcg_at_10()
    return {
        "query": comparison.query,
        "first_stage": list(comparison.first_stage),
        "reranked": list(comparison.reranked),
        "nDCG@10": {"before": ndcg[0], "after": ndcg[1]} if ndcg else None,
        "first_stage_seconds": comparison.first_stage_seconds,
        "rerank_seconds": comparison.rerank_seconds,
    }


def _questions(collection: Collection, asked: list[str] | None) -> list[str]:
    if asked:
        return asked
    return [collection.queries[query_id] for query_id in SHOWCASE]


def _introduce(out: Console, collection: Collection, manifest: Manifest, *, is_showcase: bool) -> None:
    if is_showcase:
        out.print(EXPECT + "\n", markup=False)
    out.print(
        f"{len(collection.documents):,} documents of Python {sys.version_info.major}.{sys.version_info.minor}'s standard library,"
        f" reranked by {manifest.name} ({manifest.precision}), BM25's order as a prior."
        " [green]●[/] judged right, [yellow]●[/] judged useful.\n"
    )
    if not manifest.trained:
        out.print(UNTRAINED + "\n", style="bold yellow")


def _verdict(
    comparisons: list[Comparison],
    collection: Collection,
    place: Path,
    depth: int,
    manifest: Manifest,
    figures: Path = FIGURES_FILE,
) -> str:
    """Return the gain over all judged questions if it was measured for this model, else the command that measures it."""
    known = read_figures(figures, manifest, depth)
    if known is not None:
        return known.sentence()
    hint = f"All {len(collection.queries)} judged questions: slimrank evaluate --data {place} --depth {depth}"
    measured = [ndcg for comparison in comparisons if (ndcg := comparison.ndcg_at_10())]
    if not measured:
        return hint
    before, after = (sum(values) / len(measured) for values in zip(*measured, strict=True))
    return (
        f"nDCG@10 of the {len(measured)} judged here: {before:.2f} -> {after:.2f}; these are too few to measure the gain. {hint}"
    )


def _place_of_right(comparison: Comparison) -> str:
    """Return the place of the first right answer before and after reranking, as text."""
    if not comparison.judged:
        return ""
    places = [
        next((place for place, doc_id in enumerate(order, 1) if comparison.judged.get(doc_id, 0) >= RIGHT), None)
        for order in (comparison.first_stage, comparison.reranked)
    ]
    if None in places:
        return f"   no right answer among BM25's {len(comparison.first_stage)} hits"
    return f"   right answer: place {places[0]} -> {places[1]}"


def _table(comparison: Comparison) -> Table:
    ndcg = comparison.ndcg_at_10()
    judged = f"   nDCG@10 {ndcg[0]:.2f} -> {ndcg[1]:.2f}" if ndcg else ""
    table = Table(title=Text(comparison.query, style="bold"), title_justify="left", expand=True, caption_justify="left")
    table.caption = (
        f"first stage {comparison.first_stage_seconds * 1000:.1f} ms, reranking {comparison.rerank_seconds * 1000:.0f} ms"
        f"{_place_of_right(comparison)}{judged}"
    )
    table.add_column("", justify="right", width=2)
    table.add_column("BM25", ratio=1, overflow="fold")
    table.add_column("reranked", ratio=1, overflow="fold")
    table.add_column("move", justify="right", width=5)
    for place, (before, after) in enumerate(zip(comparison.first_stage[:10], comparison.reranked[:10], strict=True)):
        move = comparison.first_stage.index(after) - place
        table.add_row(str(place + 1), _name(before, comparison), _name(after, comparison), _arrow(move))
    return table


def _name(doc_id: str, comparison: Comparison) -> Text:
    colour = {0: "", 1: "yellow"}.get(comparison.judged.get(doc_id, 0), "green")
    return Text.assemble(("● ", colour) if colour else "  ", doc_id, overflow="fold")


def _arrow(move: int) -> Text:
    if move == 0:
        return Text("·", style="dim")
    return Text(f"▲ {move}", style="green") if move > 0 else Text(f"▼ {-move}", style="red")
