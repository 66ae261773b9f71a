"""Measure a checkpoint before it is exported, on several collections at once.

``slimrank evaluate`` measures a model folder. This module measures an adapter in torch, or a teacher,
on the same sampled queries and first-stage hits. Scores are stored as they are computed
(``slimrank.evaluation.evaluate.ScoreFile``), so that a stopped run can be resumed and other fusion weights need no new scores.
It also fits the fusion weight and the calibration of a model, on dev sets only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from slimrank.adapters import VALUES_FILE, record
from slimrank.errors import DataError, ModelSourceError
from slimrank.evaluation import evaluate, measures
from slimrank.evaluation.beir import Collection, read_collection
from slimrank.evaluation.fusion_weight import fit_weight
from slimrank.evaluation.splits import query_key, shared_with_train
from slimrank.files import open_text, parse_json
from slimrank.fusion import fuse_run
from slimrank.prompt import SLIMRANK, PromptEncoder
from slimrank.scoring import Scorer
from slimrank.types import Qrels, Run
from training import parallel
from training.config import ModelConfig
from training.data.groups import Group
from training.model import GroupScorer, load_model, tokenizer_file
from training.scorer import TorchScorer


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled queries of one collection with their first-stage hits."""

    collection: Collection
    split: str
    qrels: Qrels
    first_stage: Run


def sample(
    folder: Path,
    split: str,
    *,
    queries: int,
    depth: int,
    seed: int,
    only: frozenset[str] | None = None,
    runs: Path | None = None,
) -> Sample:
    """Draw queries of a split, and search them with the embedded BM25 or take a run's hits; the same seed draws the same queries.

    Queries that are also in the train split are left out after the draw.

    Args:
        only: Draw only from these query ids, such as those held out of training.
        runs: Folder of TREC runs, ``NAME.SPLIT.trec``.

    Raises:
        DataError: the run lacks a drawn query.
    """
    whole = read_collection(folder, split)
    texts = {query_id: text for query_id, text in whole.queries.items() if only is None or query_id in only}
    collection = Collection(whole.name, whole.documents, texts, whole.qrels)
    seen = shared_with_train(folder, split).query_ids
    ids = [query_id for query_id in evaluate.sample_queries(collection, queries, seed) if query_id not in seen]
    hits = (
        evaluate.hits_of_run(runs / f"{whole.name}.{split}.trec", ids, depth)
        if runs
        else evaluate.first_stage(collection, ids, depth)
    )
    return Sample(collection, split, {query_id: whole.qrels[query_id] for query_id in ids}, hits)


def refuse_seen(drawn: Sample, groups: Sequence[Group]) -> None:
    """Check by their texts that no sampled query was trained on.

    Raises:
        DataError: a sampled query occurs in the groups.
    """
    seen = {query_key(group.query) for group in groups}
    found = [text for query_id, text in drawn.collection.queries.items() if query_id in drawn.qrels and query_key(text) in seen]
    if found:
        raise DataError(
            f"{len(found)} of the {len(drawn.qrels)} queries of {drawn.collection.name}:{drawn.split} were trained on, the first is"
            f" {found[0]!r}; choose another split or seed, or prepare the groups again with these held out"
        )


def score(
    drawn: Sample, scorer: Scorer, folder: Path, key: Mapping[str, object], progress: Callable[[int, int], None]
) -> dict[str, dict[str, float]]:
    """Return the scores of a sample's hits, read from ``folder`` or computed now."""
    path = folder / f"{drawn.collection.name}.{drawn.split}.jsonl"
    kept = evaluate.ScoreFile(path, {**key, "collection": drawn.collection.name, "split": drawn.split})
    evaluate.rerank(drawn.collection, drawn.first_stage, scorer, kept, progress)
    return {query_id: kept.scores.get(query_id, {}) for query_id in drawn.first_stage}


def kept_scores(drawn: Sample, folder: Path, *, queries: int, depth: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the scores of a sample's hits that an earlier evaluation stored, for any model.

    Raises:
        DataError: the scores are missing, incomplete, or belong to another sample.
    """
    path = folder / f"{drawn.collection.name}.{drawn.split}.jsonl"
    if not path.is_file():
        raise DataError(f"no scores in {path}; make them with `slimrank evaluate --scores-folder {folder}`")
    with open_text(path) as file:
        try:
            key = parse_json(file.readline())["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a file of scores ({error}); make it again with `slimrank evaluate --scores-folder`"
            ) from error
    wanted = {"collection": drawn.collection.name, "split": drawn.split, "queries": queries, "depth": depth, "seed": seed}
    found = {name: key.get(name) for name in wanted}
    if found != wanted:
        raise DataError(f"{path} holds scores of {found}, and {wanted} was asked for; give the options that made the scores")
    scores = evaluate.ScoreFile(path, key).scores
    missing = sum(doc_id not in scores.get(query_id, {}) for query_id, hits in drawn.first_stage.items() for doc_id in hits)
    if missing:
        raise DataError(f"{path} lacks the scores of {missing} hits; run the same `slimrank evaluate` again to complete it")
    return {query_id: scores.get(query_id, {}) for query_id in drawn.first_stage}


def torch_scorer(base: Path, adapter: Path | None, *, dtype: str = "bfloat16") -> TorchScorer:
    """Return a scorer of the base model with an adapter, or of the base model alone."""
    config = ModelConfig.model_validate(
        {"base": base, "start": adapter, "dtype": dtype, **({} if adapter else {"adapter": None})}
    )
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(base))))
    model = load_model(config).to(parallel.state().device).eval()
    return TorchScorer(GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id), encoder)


@dataclass(frozen=True, slots=True)
class Row:
    """nDCG@10 of one collection before and after, with the interval of the gain."""

    name: str
    queries: int
    before: float
    after: float
    gain: evaluate.Gain


def compare(drawn: Sample, scores: Run, *, fusion_weight: float = 0.0) -> Row:
    """Return the gain from reordering by scores fused with first-stage ranks."""
    fused = fuse_run(drawn.first_stage, scores, fusion_weight)
    was = measures.per_query(drawn.qrels, drawn.first_stage, ["nDCG@10"])["nDCG@10"]
    now = measures.per_query(drawn.qrels, fused, ["nDCG@10"])["nDCG@10"]
    gain = evaluate.paired_gain(was, now)
    return Row(drawn.collection.name, len(was), _mean(was), _mean(now), gain)


def mean_gain(samples: Sequence[tuple[Sample, Run]], *, fusion_weight: float = 0.0, seed: int = 0) -> evaluate.Gain:
    """Return the gain averaged over collections; the bootstrap draws queries within each collection."""
    changes = []
    for drawn, scores in samples:
        fused = fuse_run(drawn.first_stage, scores, fusion_weight)
        was = measures.per_query(drawn.qrels, drawn.first_stage, ["nDCG@10"])["nDCG@10"]
        now = measures.per_query(drawn.qrels, fused, ["nDCG@10"])["nDCG@10"]
        changes.append(evaluate.changes(was, now))
    return evaluate.mean_gain(changes, seed=seed)


def fit_values(samples: Sequence[tuple[Sample, Run]], *, first_stage: str) -> dict[str, object]:
    """Fit the fusion weight and the calibration on dev samples; return them in the format of ``slimrank.json``."""
    weight, figures = fit_weight([(drawn.qrels, drawn.first_stage, scores) for drawn, scores in samples])
    scale, offset = fit_calibration(samples)
    return {
        "fusion": {"weight": weight, "first_stage": first_stage},
        "calibration": {"scale": round(scale, 4), "offset": round(offset, 4)},
        "fusion_figures": {str(candidate): round(value, 4) for candidate, value in figures.items()},
    }


def fit_calibration(samples: Sequence[tuple[Sample, Run]], *, steps: int = 50) -> tuple[float, float]:
    """Return scale and offset of the sigmoid by logistic regression (Platt 1999); each sample has the same weight.

    An unjudged hit counts as not relevant, so probabilities tend to be too low.
    """
    scores, labels, weights = [], [], []
    for drawn, run in samples:
        pairs = [(s, float(drawn.qrels[q].get(d, 0) > 0)) for q, hits in run.items() for d, s in hits.items()]
        scores += [s for s, _ in pairs]
        labels += [label for _, label in pairs]
        weights += [1 / len(pairs)] * len(pairs)
    x, y, w = (torch.tensor(values, dtype=torch.float64) for values in (scores, labels, weights))
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    theta = torch.zeros(2, dtype=torch.float64)  # here no probability is saturated; from another start it can diverge
    for _ in range(steps):  # Newton's method; the ridge keeps it finite if a score separates the classes
        p = torch.sigmoid(design @ theta)
        gradient = design.T @ (w * (p - y)) + 1e-4 * theta
        hessian = design.T @ (design * (w * p * (1 - p))[:, None]) + 1e-4 * torch.eye(2, dtype=torch.float64)
        theta = theta - torch.linalg.solve(hessian, gradient)
    scale, offset = float(theta[0]), float(theta[1])
    if not (0 < scale < math.inf and math.isfinite(offset)):
        raise DataError(
            f"the scores of these {len(labels)} hits do not tell relevant from irrelevant (scale {scale:.3g}, which must be above 0);"
            " nothing was written: check the adapter and the judgments, or give more queries"
        )
    return scale, offset


def write_values(folder: Path, values: Mapping[str, object]) -> None:
    """Write fitted values to an adapter's ``slimrank.json``; its other values stay."""
    try:
        record(folder, values)
    except ModelSourceError as error:
        reason = error.__cause__ or "it holds another value"
        raise DataError(f"{folder / VALUES_FILE} is not a JSON object ({reason}); remove it, and fit again") from error


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)
