"""Measure an embedding model for the frontier: many search systems use one today, so a reranker must be better than it.

``slimrank train baseline`` writes its files into the folder of ``slimrank frontier``, in the same format
(``slimrank.evaluation.frontier_cells``). It measures three ways to use the model: (1) the first stage's hits are reordered by stored vectors, and
only the query is encoded; (2) they are reordered by vectors of cut documents that are computed for each search; (3) hybrid
search is the first stage. The times leave out what the search engine needs to find or read stored vectors.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from slimrank.evaluation.evaluate import hits_of_run
from slimrank.evaluation.frontier import Setting
from slimrank.evaluation.frontier_cells import NDCG_HITS, Draw, figures, first_stage_figures, keep_quality, kept_quality
from slimrank.evaluation.frontier_turns import Answer, Cell, take_turns
from training.data.teacher import MAX_TOKENS, Teacher

HYBRID = "hybrid"
SPECIAL_TOKENS = 2
"""The special tokens around each text, which come on top of a cut."""


class Baseline:
    """An embedding model and its settings.

    Args:
        folder: The model's folder, as ``training.data.teacher`` reads it.
        name: The name of the rows.
        hits: Numbers of hits that are reordered.
        cuts: Tokens of a document whose vector is computed for the search.
    """

    def __init__(self, folder: Path, name: str, *, hits: Sequence[int], cuts: Sequence[int], threads: int) -> None:
        self.name, self._hits, self._cuts = name, hits, cuts
        self._teachers = {
            tokens: Teacher(
                folder, max_tokens=min(MAX_TOKENS, tokens + SPECIAL_TOKENS) if tokens else MAX_TOKENS, threads=threads
            )
            for tokens in (0, *cuts)
        }

    def settings(self) -> list[Setting]:
        """Return the settings with stored vectors, then those with vectors computed from each cut."""
        words = {tokens: "computed fresh" if tokens else "stored vectors" for tokens in (0, *self._cuts)}
        return [
            Setting(f"{self.name}, {word}", hits, tokens, is_served=False)
            for tokens, word in words.items()
            for hits in self._hits
        ]

    def measure_quality(self, folder: Path, drawn: Draw, model: str) -> None:
        """Measure and store the figures of a set that are missing.

        Args:
            model: The hash of the model's file.
        """
        there = kept_quality(folder, drawn, self.name, model)
        for tokens, teacher in self._teachers.items():
            missing = [setting for setting in self.settings() if setting.tokens == tokens and setting not in there]
            if missing:
                scores = _cosines(drawn, teacher, max(self._hits))
                keep_quality(folder, drawn, self.name, model, [figures(drawn, setting, scores, 0.0) for setting in missing])

    def measure_times(self, folder: Path, model: str, *, rounds: int, threads: int, seed: int) -> None:
        """Take the missing times of each setting, and of encoding the query for hybrid search, in turns."""
        cells = [
            Cell(self.name, each, partial(self._answer, each)) for each in (*self.settings(), Setting(HYBRID, is_served=False))
        ]
        take_turns(folder, cells, {self.name: model}, rounds=rounds, threads=threads, seed=seed)

    def _answer(self, setting: Setting) -> Answer:
        teacher = self._teachers[setting.tokens]

        def answer(query: str, documents: list[str]) -> None:
            vector = teacher.encode_queries([query])[0]
            if documents:
                teacher.encode_documents(documents) @ vector

        return answer


def measure_hybrid(folder: Path, drawn: Draw, runs: Path) -> None:
    """Measure and store the figures of hits that ``slimrank train hybrid`` wrote.

    Raises:
        DataError: the run lacks a query.
    """
    run = hits_of_run(runs / f"{drawn.name}.trec", list(drawn.run), NDCG_HITS)
    keep_quality(folder, drawn, HYBRID, str(runs), [first_stage_figures(drawn, HYBRID, run)])


def _cosines(drawn: Draw, teacher: Teacher, hits: int) -> Mapping[str, dict[str, float]]:
    """Return the cosine of each query with its first hits; a document that is a hit of several queries is encoded once."""
    found = {query_id: list(run)[:hits] for query_id, run in drawn.run.items()}
    doc_ids = list(dict.fromkeys(doc_id for ids in found.values() for doc_id in ids))
    places = {doc_id: place for place, doc_id in enumerate(doc_ids)}
    documents = teacher.encode_documents([drawn.collection.documents[doc_id].content for doc_id in doc_ids])
    queries = teacher.encode_queries([drawn.collection.queries[query_id] for query_id in found])
    scores = {}
    for (query_id, ids), query in zip(found.items(), queries, strict=True):
        values = documents[[places[doc_id] for doc_id in ids]] @ query
        scores[query_id] = dict(zip(ids, values.tolist(), strict=True))
    return scores
