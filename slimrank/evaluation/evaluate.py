"""Measure what reranking changes: the same first-stage hits before and after, judged by qrels.

Only the order of the first stage's top ``depth`` changes, so a document that the first stage did
not find stays lost, as in production. *After* is what a connector would give: scores fused with
the first stage's order (``slimrank.fusion``) where a weight is given; what the scores alone give
is measured beside it. Scores are kept in a file as they are made: a run that was stopped goes on
where it was. Prints nothing; the command line does.
"""

import fcntl
import json
import math
import os
import random
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from slimrank.bm25 import BM25
from slimrank.errors import DataError
from slimrank.evaluation import measures, trec
from slimrank.evaluation.beir import Collection
from slimrank.evaluation.splits import Shared
from slimrank.files import naming, parse_json
from slimrank.fusion import fuse_run
from slimrank.scoring import Scorer
from slimrank.types import Qrels, Run

BOOTSTRAP_ROUNDS = 10_000
NOTHING_SHARED = Shared()
SWEEP_DEPTHS = (5, 10, 20, 30, 50, 100, 200)
Progress = Callable[[int, int], None]
"""Called with the pairs scored so far and the pairs in all."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean difference over queries with the paired bootstrap's 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class OrderQuality:
    """One order of the hits: its run, its measures and what it gains over the first stage."""

    run: Run = field(repr=False)
    measures: Mapping[str, float]
    gains: Mapping[str, Gain]
    changes: npt.NDArray[np.float64] = field(repr=False)
    """The gain of each query in nDCG@10."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One collection, before and after."""

    name: str
    queries: int
    pairs: int
    pairs_per_second: float
    before: Mapping[str, float]
    after: OrderQuality
    """With the first stage's order as a prior, if ``fusion_weight`` is not 0."""
    scores_only: OrderQuality
    fusion_weight: float
    sweep: Mapping[int, float]
    """rank_window_size -> nDCG@10 when only that many hits are reranked."""
    calibration_error: float
    shared: Shared
    """The part of the measured split that the train split shares; its queries were left out."""
    left_out: int
    first_stage: Run = field(repr=False)


_KEY_LINE = b'{"key": '


class ScoreFile:
    """A file of scores, one JSON line for each query, tied to one model and setting. A query is written when it is scored.

    Raises:
        DataError: the file was made with another model, collection or setting, is no file of scores, or another process writes it.
    """

    def __init__(self, path: Path | None, key: Mapping[str, object]) -> None:
        self._path = path
        self.scores: dict[str, dict[str, float]] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        weakref.finalize(self, os.close, self._descriptor)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"another process keeps scores in {path}; wait for it, or name another folder") from error
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        whole = content[: content.rfind(b"\n") + 1]
        if whole or not _KEY_LINE.startswith(content[: len(_KEY_LINE)]):
            self._take(path, whole or content, key)
        os.truncate(self._descriptor, len(whole))  # a line cut short by a kill or a full disk is made again
        if not whole:
            self._write({"key": key})

    def add(self, query_id: str, scores: dict[str, float]) -> None:
        """Keep the scores of one query."""
        self.scores[query_id] = scores
        if self._path is not None:
            self._write({"query_id": query_id, "scores": scores})

    def _write(self, record: Mapping[str, object]) -> None:
        line = json.dumps(record).encode() + b"\n"
        with naming(self._path or Path()):
            while line:
                line = line[os.write(self._descriptor, line) :]

    def _take(self, path: Path, content: bytes, key: Mapping[str, object]) -> None:
        try:
            found, *records = [parse_json(line) for line in content.decode("utf-8-sig").splitlines()]
            found = found["key"]
            self.scores = {record["query_id"]: record["scores"] for record in records}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no file of scores ({error}); name another folder, or remove it") from error
        if found != json.loads(json.dumps(key)):
            raise DataError(
                f"{path} holds scores of {found}, and scores of {dict(key)} were asked for; name another file or remove it"
            )


def sample_queries(collection: Collection, count: int | None, seed: int) -> list[str]:
    """Return ``count`` judged query ids drawn with ``seed``, or all of them, sorted."""
    query_ids = sorted(collection.queries)
    return query_ids if count is None or count >= len(query_ids) else sorted(random.Random(seed).sample(query_ids, count))


def first_stage(collection: Collection, query_ids: Sequence[str], depth: int) -> dict[str, dict[str, float]]:
    """Return the embedded BM25's run of these queries."""
    index = BM25({doc_id: document.content for doc_id, document in collection.documents.items()})
    return {query_id: index.search(collection.queries[query_id], depth) for query_id in query_ids}


def hits_of_run(path: Path, query_ids: Sequence[str], depth: int) -> dict[str, dict[str, float]]:
    """Return the first ``depth`` hits of these queries from a TREC run, such as hybrid search's.

    Raises:
        DataError: the run lacks a query.
    """
    run = trec.read_run(path)
    missing = [query_id for query_id in query_ids if query_id not in run]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(query_ids)} queries, the first is {missing[0]!r}; make the run anew"
        )
    return {query_id: dict(sorted(run[query_id].items(), key=lambda hit: -hit[1])[:depth]) for query_id in query_ids}


def rerank(collection: Collection, run: Run, scorer: Scorer, kept: ScoreFile, progress: Progress) -> tuple[int, float]:
    """Score every hit of a run that has no score yet; return the pairs scored now and the seconds it took."""
    total, done, scored_now, seconds = sum(len(hits) for hits in run.values()), 0, 0, 0.0
    for query_id, hits in run.items():
        if hits and query_id not in kept.scores:
            start = perf_counter()
            texts = [collection.documents[doc_id].content for doc_id in hits]
            scored = scorer.score(collection.queries[query_id], texts)
            seconds += perf_counter() - start
            scored_now += len(hits)
            kept.add(query_id, dict(zip(hits, scored.scores.tolist(), strict=True)))
        done += len(hits)
        progress(done, total)
    return scored_now, seconds


def evaluate(
    collection: Collection,
    scorer: Scorer,
    *,
    depth: int,
    queries: int | None = None,
    seed: int = 0,
    fusion_weight: float = 0.0,
    shared: Shared = NOTHING_SHARED,
    kept: ScoreFile | None = None,
    hits: Path | None = None,
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Run BM25, rerank its top ``depth``, and measure both.

    Args:
        hits: TREC run whose hits are reranked in place of BM25's.
        fusion_weight: Weight of BM25's order beside the score; 0 = the scores alone.
        shared: What the split shares with the train split; queries drawn among these are left out.

    Raises:
        DataError: no query is left.
    """
    kept = kept or ScoreFile(None, {})
    drawn = sample_queries(collection, queries, seed)
    query_ids = [query_id for query_id in drawn if query_id not in shared.query_ids]
    if not query_ids:
        raise DataError(f"all {len(drawn)} queries of {collection.name} also stand in its train split; measure on other queries")
    before = hits_of_run(hits, query_ids, depth) if hits else first_stage(collection, query_ids, depth)
    scored_now, seconds = rerank(collection, before, scorer, kept, progress)
    found = {query_id: hits for query_id, hits in before.items() if hits}
    scores = {query_id: {doc_id: kept.scores[query_id][doc_id] for doc_id in hits} for query_id, hits in found.items()}
    fused = fuse_run(found, scores, fusion_weight) if fusion_weight else scores
    qrels = {query_id: collection.qrels[query_id] for query_id in query_ids}
    was = measures.per_query(qrels, before)
    return Evaluation(
        name=collection.name,
        queries=len(query_ids),
        pairs=sum(len(hits) for hits in before.values()),
        pairs_per_second=scored_now / seconds if seconds else math.nan,
        before=_means(was),
        after=_outcome(qrels, was, fused),
        scores_only=_outcome(qrels, was, scores),
        fusion_weight=fusion_weight,
        sweep={d: measures.mean(qrels, window(before, fused, d))["nDCG@10"] for d in SWEEP_DEPTHS if d < depth},
        calibration_error=calibration_error(scores, qrels, probability) if probability else math.nan,
        shared=shared,
        left_out=len(drawn) - len(query_ids),
        first_stage=before,
    )


def window(before: Run, after: Run, rank_window_size: int) -> dict[str, dict[str, float]]:
    """Return the run in which only the first ``rank_window_size`` hits were reranked."""
    merged: dict[str, dict[str, float]] = {}
    for query_id, hits in after.items():
        order = list(before[query_id])
        top = sorted(order[:rank_window_size], key=lambda doc_id: -hits[doc_id])
        merged[query_id] = {doc_id: -float(place) for place, doc_id in enumerate(top + order[rank_window_size:])}
    return merged


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return what each query gained, in the order of ``before``."""
    return np.array([after[query_id] - before[query_id] for query_id in before], dtype=np.float64)


def paired_gain(before: Mapping[str, float], after: Mapping[str, float], *, seed: int = 0) -> Gain:
    """Return the mean gain and its 95% interval by the paired bootstrap over queries (percentiles)."""
    return mean_gain([changes(before, after)], seed=seed)


def mean_gain(sets: Sequence[npt.NDArray[np.float64]], *, seed: int = 0) -> Gain:
    """Return the gain averaged over sets of queries, each weighing the same, and its 95% interval.

    The paired bootstrap draws queries anew within each set. ``connector.audit.compare.significance`` has one for weighted queries that
    come in blocks; its docstring says why there are two.

    Args:
        sets: What each query of a set gained.
    """
    rng = np.random.default_rng(seed)
    rounds = [change[rng.integers(0, len(change), (BOOTSTRAP_ROUNDS, len(change)))].mean(axis=1) for change in sets]
    low, high = np.percentile(np.mean(rounds, axis=0), [2.5, 97.5])
    return Gain(float(np.mean([change.mean() for change in sets])), float(low), float(high))


def calibration_error(
    run: Run, qrels: Run | Mapping[str, Mapping[str, int]], probability: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Return the expected calibration error over judged hits, ten bins of equal width; nan where none is judged."""
    pairs = [
        (score, float(qrels[query_id][doc_id] > 0))
        for query_id, hits in run.items()
        for doc_id, score in hits.items()
        if doc_id in qrels[query_id]
    ]
    if not pairs:
        return math.nan
    chances, relevant = probability(np.array([score for score, _ in pairs])), np.array([label for _, label in pairs])
    bins = np.minimum((chances * 10).astype(int), 9)
    gaps = [abs(chances[bins == b].mean() - relevant[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def _outcome(qrels: Qrels, was: Mapping[str, Mapping[str, float]], run: Run) -> OrderQuality:
    now = measures.per_query(qrels, run)
    gains = {name: paired_gain(was[name], now[name]) for name in was if not name.startswith("Judged")}
    return OrderQuality(run, _means(now), gains, changes(was["nDCG@10"], now["nDCG@10"]))


def _means(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: math.fsum(values.values()) / len(values) for name, values in table.items()}
