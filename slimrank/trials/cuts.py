"""``slimrank evaluate --cuts``: nDCG@10 against how many tokens of a document are read, and which.

Each query's hits are cut to every number of tokens twice, at the head and at the best window, and texts that come out alike are
scored once. Documents shorter than a cut are read whole in both, so a collection of short ones says little of windows.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from slimrank.engine.jobs import DocumentWindow
from slimrank.engine.reranker import Reranker
from slimrank.engine.window_scorer import Parts
from slimrank.errors import DataError
from slimrank.evaluation import measures
from slimrank.evaluation.beir import Collection
from slimrank.evaluation.evaluate import Gain, ScoreFile, first_stage, paired_gain, sample_queries
from slimrank.fusion import fuse_run

WINDOWS: tuple[DocumentWindow, ...] = ("head", "best")
NDCG = "nDCG@10"


@dataclass(frozen=True, slots=True)
class Cut:
    """The figures of one cut."""

    tokens: int
    share_cut: float
    """The share of hits that are longer than the cut."""
    alone: Mapping[str, float]
    """Window -> nDCG@10 of the scores alone."""
    fused: Mapping[str, float]
    """The same with the first stage's order as a prior."""
    gain: Gain
    """The gain of the best window over the head, by the scores alone."""
    fused_gain: Gain


def measure_cuts(
    collection: Collection,
    reranker: Reranker,
    cuts: Sequence[int],
    *,
    depth: int,
    queries: int | None,
    seed: int,
    fusion_weight: float,
    left_out: Container[str],
    kept: ScoreFile,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Mapping[str, float], list[Cut]]:
    """Return the first stage's measures and the figures of each cut, the smallest cut first.

    Args:
        left_out: Queries that also stand in the train split.

    Raises:
        DataError: the first stage finds nothing for any query that is left.
    """
    scorer, parts = reranker.scorer, Parts(reranker.encoder("cuts"))
    chosen = [query_id for query_id in sample_queries(collection, queries, seed) if query_id not in left_out]
    run = {query_id: hits for query_id, hits in first_stage(collection, chosen, depth).items() if hits}
    if not run:
        raise DataError(f"BM25 finds nothing for any of {len(chosen)} queries of {collection.name}; measure on other queries")
    shares: dict[int, list[float]] = {tokens: [] for tokens in cuts}
    for place, (query_id, hits) in enumerate(run.items()):
        texts, longer = _texts(collection, query_id, list(hits), parts, cuts)
        for tokens, share in longer.items():
            shares[tokens].append(share)
        if query_id not in kept.scores:
            scored = scorer.score(collection.queries[query_id], list(texts.values()))
            kept.add(query_id, dict(zip(texts, scored.scores.tolist(), strict=True)))
        progress(place + 1, len(run))
    qrels = {query_id: collection.qrels[query_id] for query_id in chosen}
    found = [_cut(tokens, float(np.mean(shares[tokens])), run, kept, qrels, fusion_weight) for tokens in sorted(cuts)]
    return measures.mean(qrels, run, [NDCG]), found


def _texts(
    collection: Collection, query_id: str, doc_ids: Sequence[str], parts: Parts, cuts: Sequence[int]
) -> tuple[dict[str, str], dict[int, float]]:
    """Return the text of each cut, window and document, and what share of documents is longer than each cut."""
    query, documents = collection.queries[query_id], [collection.documents[doc_id].content for doc_id in doc_ids]
    texts: dict[str, str] = {}
    longer: dict[int, float] = {}
    for tokens in cuts:
        for window in WINDOWS:
            read, was_cut = parts.of(query, documents, window, max_tokens=tokens)
            texts |= {_name(tokens, window, doc_id): part for doc_id, part in zip(doc_ids, read, strict=True)}
            longer[tokens] = float(was_cut.mean())
    return texts, longer


def _cut(
    tokens: int,
    share: float,
    run: Mapping[str, Mapping[str, float]],
    kept: ScoreFile,
    qrels: Mapping[str, Mapping[str, int]],
    weight: float,
) -> Cut:
    alone: dict[str, dict[str, float]] = {}
    fused: dict[str, dict[str, float]] = {}
    for window in WINDOWS:
        scores = {
            query_id: {doc_id: kept.scores[query_id][_name(tokens, window, doc_id)] for doc_id in hits}
            for query_id, hits in run.items()
        }
        alone[window] = dict(measures.per_query(qrels, scores, [NDCG])[NDCG])
        fused[window] = dict(measures.per_query(qrels, fuse_run(run, scores, weight) if weight else scores, [NDCG])[NDCG])
    gains = [paired_gain(found["head"], found["best"]) for found in (alone, fused)]
    return Cut(tokens, share, _means(alone), _means(fused), *gains)


def _means(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {window: float(np.mean(list(each.values()))) for window, each in found.items()}


def _name(tokens: int, window: str, doc_id: str) -> str:
    return f"{tokens} {window} {doc_id}"


def cuts_table(name: str, before: Mapping[str, float], cuts: Sequence[Cut]) -> Table:
    """Return the cuts of a collection as a table."""
    table = Table(
        title=f"{name}: nDCG@10 by the tokens of a document that are read, first stage {before[NDCG]:.3f}", title_justify="left"
    )
    for head in ("tokens", "hits cut", "head", "best", "gain", "head, fused", "best, fused", "gain, fused"):
        table.add_column(head, justify="right")
    for cut in cuts:
        numbers = [
            f"{cut.tokens}",
            f"{cut.share_cut:.0%}",
            f"{cut.alone['head']:.3f}",
            f"{cut.alone['best']:.3f}",
            _interval(cut.gain),
        ]
        table.add_row(*numbers, f"{cut.fused['head']:.3f}", f"{cut.fused['best']:.3f}", _interval(cut.fused_gain))
    return table


def _interval(gain: Gain) -> str:
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
