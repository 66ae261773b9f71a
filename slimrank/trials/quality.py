"""Measure the quality cells of ``slimrank frontier``: nDCG@10 of each setting of a model on each test set.

All settings of a model come from one scoring at the most hits that are asked for: fewer hits are the first of those, and a cascade
needs the kept scores of its two models and no new ones. The best window of a document is chosen among these hits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slimrank import manifest as manifests
from slimrank.engine.cascade import kept_of, narrowed
from slimrank.engine.reranker import Reranker
from slimrank.engine.window_scorer import Parts
from slimrank.evaluation.frontier import Setting, Window
from slimrank.evaluation.frontier_cells import SCORES, Draw, Figures, figures, keep_quality, kept_quality
from slimrank.manifest import Manifest
from slimrank.trials.commands import fitted_weight
from slimrank.trials.cuts import WINDOWS
from slimrank.trials.kept_scores import KeptScores
from slimrank.types import Run, Scored

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Grid:
    """The settings that are measured of each model."""

    cuts: Sequence[int]
    windows: Sequence[Window] = WINDOWS
    hits: Sequence[int] = (10, 30)

    def settings(self, model: str) -> list[Setting]:
        """Return the settings."""
        return [Setting(model, hits, tokens, window) for tokens in self.cuts for window in self.windows for hits in self.hits]


class Contender:
    """A model folder that takes part; opened when something is to be scored."""

    def __init__(self, folder: Path, *, threads: int | None) -> None:
        self.folder, self._threads = folder, threads
        self.manifest: Manifest = manifests.check(folder)
        self._reranker: Reranker | None = None

    @property
    def name(self) -> str:
        """The name of the model in the report."""
        return self.manifest.name

    @property
    def digest(self) -> str:
        """The hash of the model, for which its figures hold."""
        return self.manifest.digest()

    @property
    def reranker(self) -> Reranker:
        """The model, loaded."""
        if self._reranker is None:
            self._reranker = Reranker.load(self.folder, threads=self._threads)
        return self._reranker


def measure_quality(folder: Path, drawn: Draw, contender: Contender, grid: Grid, progress: Progress) -> None:
    """Measure the missing settings of a model on a set; each is written as soon as it is known.

    Raises:
        ScoringError: the model failed.
    """
    there = kept_quality(folder, drawn, contender.name, contender.digest)
    missing = [setting for setting in grid.settings(contender.name) if setting not in there]
    weight = fitted_weight(contender.manifest.fusion)
    parts = list(dict.fromkeys((each.tokens, each.window) for each in missing))
    for place, (tokens, window) in enumerate(parts, start=1):
        scores = scores_of(folder, drawn, contender, tokens, window, max(grid.hits))
        now = [each for each in missing if (each.tokens, each.window) == (tokens, window)]
        found = [figures(drawn, setting, scores, weight) for setting in now]
        keep_quality(folder, drawn, contender.name, contender.digest, found)
        progress(place, len(parts))


def measure_cascade(folder: Path, drawn: Draw, first: Contender, full: Contender, grid: Grid, *, keep: int) -> None:
    """Measure two models in a cascade, at every cut and window, and every number of hits that leaves something to narrow."""
    name, digest = f"{first.name}+{full.name}", f"{first.digest} {full.digest}"
    settings = [replace(each, first=first.name, keep=keep) for each in grid.settings(full.name) if each.hits > keep]
    there = kept_quality(folder, drawn, name, digest)
    missing = [setting for setting in settings if setting not in there]
    found: list[Figures] = []
    for setting in missing:
        cheap, best = (scores_of(folder, drawn, each, setting.tokens, setting.window, max(grid.hits)) for each in (first, full))
        both = {query_id: _narrowed(cheap[query_id], best[query_id], setting) for query_id in cheap}
        found.append(figures(drawn, setting, both, fitted_weight(full.manifest.fusion)))
    if found:
        keep_quality(folder, drawn, name, digest, found)


def _narrowed(cheap: Mapping[str, float], full: Mapping[str, float], setting: Setting) -> dict[str, float]:
    """Return the scores that a cascade gives to the first hits of a query, as serving does."""
    doc_ids = list(cheap)[: setting.hits]
    if len(doc_ids) <= setting.keep:
        return {doc_id: full[doc_id] for doc_id in doc_ids}
    said = _scored([cheap[doc_id] for doc_id in doc_ids])
    kept = kept_of(said, setting.keep)
    scores = narrowed(said, kept, _scored([full[doc_ids[place]] for place in kept])).scores
    return dict(zip(doc_ids, scores.tolist(), strict=True))


def _scored(scores: list[float]) -> Scored:
    return Scored(np.array(scores, dtype=np.float32), np.zeros(len(scores), dtype=np.bool_), False, 0)


def scores_of(folder: Path, drawn: Draw, contender: Contender, tokens: int, window: Window, hits: int) -> Run:
    """Return the score of each query's first hits, read at one cut and window; kept ones are not made again."""
    model_id = {name: record.sha256 for name, record in contender.manifest.files.items()}
    kept = KeptScores(folder / SCORES / contender.name / f"{drawn.name}.jsonl", model_id)
    parts = Parts(contender.reranker.encoder("frontier"))
    scores: dict[str, dict[str, float]] = {}
    for query_id, found in drawn.run.items():
        doc_ids = list(found)[:hits]
        if doc_ids:
            query, documents = drawn.collection.queries[query_id], [drawn.collection.documents[each].content for each in doc_ids]
            read, _ = parts.of(query, documents, window, max_tokens=tokens)
            values = kept.of(query_id, query, read, contender.reranker.scorer)
            scores[query_id] = dict(zip(doc_ids, values, strict=True))
    return scores
