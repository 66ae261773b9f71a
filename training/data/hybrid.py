"""Hybrid search as a first stage: BM25 and an embedding model, fused by reciprocal rank.

Many search systems use it today, so a reranker must improve on it. ``slimrank train hybrid``
writes the hits as a TREC run, which ``train prepare`` (``run``) and ``train evaluate`` (``--runs``) read.
Reciprocal rank fusion: https://doi.org/10.1145/1571941.1572114, k = 60.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from slimrank.bm25 import BM25
from slimrank.evaluation.beir import Collection
from training.data.teacher import Teacher

K = 60
"""The paper's value, and the default of search engines."""
POOL = 100
"""Hits of each ranking that are fused."""


def fuse(runs: Sequence[Sequence[str]], depth: int) -> dict[str, float]:
    """Return the best ``depth`` documents of several rankings by the sum of 1 / (K + rank)."""
    sums: dict[str, float] = {}
    for ranking in runs:
        for rank, doc_id in enumerate(ranking, start=1):
            sums[doc_id] = sums.get(doc_id, 0.0) + 1 / (K + rank)
    best = sorted(sums.items(), key=lambda hit: -hit[1])
    return dict(best[:depth])


def hybrid_run(
    collection: Collection,
    query_ids: Sequence[str],
    teacher: Teacher,
    *,
    depth: int,
    progress: Callable[[int], None] | None = None,
) -> Mapping[str, dict[str, float]]:
    """Return the fused hits of each query.

    Args:
        progress: Called after each batch with the number of documents that were embedded.
    """
    doc_ids = list(collection.documents)
    texts = [collection.documents[doc_id].content for doc_id in doc_ids]
    index = BM25(dict(zip(doc_ids, texts, strict=True)))
    vectors = teacher.encode_documents(texts, progress=progress)
    queries = teacher.encode_queries([collection.queries[query_id] for query_id in query_ids])
    run = {}
    for query_id, query in zip(query_ids, queries, strict=True):
        nearest = np.argsort(-(vectors @ query), kind="stable")[:POOL]
        words = list(index.search(collection.queries[query_id], POOL))
        run[query_id] = fuse([words, [doc_ids[place] for place in nearest]], depth)
    return run
