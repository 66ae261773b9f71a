"""The quality gate of a precision: does it rank real documents as fp32 does?

The gate compares rankings, not scores: Kendall's tau with the order that the same weights give in fp32 must be at least .9, and
nDCG@10 must not be more than .005 below that of fp32. The pairs come from the given BEIR collections (what BM25 finds for a
sample of judged queries); without a collection they are the committed pairs, where the first document answers the query.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from onnx_export.pairs import read_pairs
from onnx_export.runner import GraphRunner
from slimrank import manifest as manifests
from slimrank.evaluation import measures
from slimrank.evaluation.beir import read_collection
from slimrank.evaluation.evaluate import first_stage, sample_queries
from slimrank.manifest import TOKENIZER_FILE
from slimrank.prompt import Prompt, PromptEncoder
from slimrank.rank_correlation import kendall_tau
from slimrank.types import Scores

LEAST_AGREEMENT = 0.9
LARGEST_NDCG_LOSS = 0.005
QUERIES, DEPTH, SEED = 8, 8, 3
"""For each collection: enough queries to see a loss, few enough to be scored in a minute or two."""
BATCH_ROWS = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """One query's documents as token ids, and the relevance of each."""

    prefix: list[int]
    rows: list[list[int]]
    relevance: list[int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How closely the ranking of a graph agrees with that of the reference."""

    rank_agreement: float
    """Kendall's tau-b, mean over queries."""
    ndcg_at_10: float
    reference_ndcg_at_10: float
    largest_difference: float

    @property
    def passed(self) -> bool:
        """Whether the graph passes the gate."""
        loss = self.reference_ndcg_at_10 - self.ndcg_at_10
        return self.rank_agreement >= LEAST_AGREEMENT and loss <= LARGEST_NDCG_LOSS


def judged_pairs(folder: Path, collections: Sequence[Path]) -> list[Judged]:
    """Return the pairs of the gate, as token ids of a model folder's tokenizer."""
    manifest = manifests.read(folder)
    encoder = PromptEncoder(
        Prompt.load(folder / manifests.PROMPT_FILE),
        Tokenizer.from_file(str(folder / TOKENIZER_FILE)),
        max_pair_tokens=manifest.max_pair_tokens,
        max_query_tokens=manifest.max_query_tokens,
    )
    found = []
    for query, documents, relevance in _of_collections(collections) if collections else _committed():
        prefix = encoder.prefix_ids(query).ids
        rows = [piece.ids + encoder.suffix_ids for piece in encoder.document_ids(documents, len(prefix))]
        found.append(Judged(prefix, rows, relevance))
    return found


def _committed() -> Iterator[tuple[str, list[str], list[int]]]:
    for group in read_pairs():
        yield group.query, group.documents, [1] + [0] * (len(group.documents) - 1)


def _of_collections(folders: Sequence[Path]) -> Iterator[tuple[str, list[str], list[int]]]:
    for folder in folders:
        split = "dev" if (folder / "qrels" / "dev.tsv").is_file() else "test"
        collection = read_collection(folder, split)
        chosen = sample_queries(collection, QUERIES, SEED)
        for query_id, hits in first_stage(collection, chosen, DEPTH).items():
            judgments = collection.qrels[query_id]
            texts = [collection.documents[doc_id].content for doc_id in hits]
            yield collection.queries[query_id], texts, [judgments.get(doc_id, 0) for doc_id in hits]


def scores_of(runner: GraphRunner, pairs: Sequence[Judged], *, batch_rows: int = BATCH_ROWS) -> list[Scores]:
    """Return (N,) scores for each query's documents; small batches of similar length run in all lanes of the runner."""
    found = [np.empty(len(query.rows), dtype=np.float32) for query in pairs]
    batches = list[tuple[Judged, Scores, list[int]]]()
    for query, scores in zip(pairs, found, strict=True):
        order = sorted(range(len(query.rows)), key=lambda place: len(query.rows[place]))
        batches += [(query, scores, order[start : start + batch_rows]) for start in range(0, len(order), batch_rows)]

    def run(batch: tuple[Judged, Scores, list[int]]) -> None:
        query, scores, chosen = batch
        scores[chosen] = runner.score([query.rows[place] for place in chosen], prefix=query.prefix)

    with ThreadPoolExecutor(runner.lanes) as lanes:
        list(lanes.map(run, batches))
    return found


def agreement(pairs: Sequence[Judged], scores: Sequence[Scores], reference: Sequence[Scores]) -> Agreement:
    """Compare the scores of a graph with the scores of the reference."""
    both = list(zip(scores, reference, strict=True))
    return Agreement(
        float(np.mean([kendall_tau(one, other) for one, other in both])),
        ndcg_at_10(pairs, scores),
        ndcg_at_10(pairs, reference),
        max(float(np.abs(one - other).max()) for one, other in both),
    )


def ndcg_at_10(pairs: Sequence[Judged], scores: Sequence[Scores]) -> float:
    """Return the mean nDCG@10 of the queries that have a relevant document."""
    judged = [(query.relevance, found) for query, found in zip(pairs, scores, strict=True) if any(query.relevance)]
    if not judged:
        return 0.0
    qrels = {str(place): {str(i): grade for i, grade in enumerate(grades)} for place, (grades, _) in enumerate(judged)}
    run = {str(place): {str(i): float(score) for i, score in enumerate(found)} for place, (_, found) in enumerate(judged)}
    return measures.mean(qrels, run, ["nDCG@10"])["nDCG@10"]
