"""An embedding model beside our models on the frontier: what many searches have today, and so what a reranker must be worth.

``slimrank train baseline`` puts its files into the folder of ``slimrank frontier``, in the same form (``slimrank.frontier_cells``).
Three ways to use the model are measured: the first stage's hits reordered by vectors that the index holds, where only the query is
encoded; the same by vectors of cut documents that are computed when the search comes; and hybrid search as a first stage of its own.
What the engine takes to find or to read stored vectors is not in the times.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from slimrank.evaluation import hits_of_run
from slimrank.frontier import Setting
from slimrank.frontier_cells import (
    NDCG_HITS,
    Draw,
    figures,
    first_stage_figures,
    keep_quality,
    kept_quality,
)
from slimrank.frontier_turns import Answer, Cell, take_turns
from training.teacher import MAX_TOKENS, Teacher

HYBRID = "hybrid"
SPECIAL_TOKENS = 2
"""Around each text, beside the tokens of a cut."""


class Baseline:
    """An embedding model and its settings.

    Args:
        folder: As of ``training.teacher``.
        name: What the rows are called.
        hits: Numbers of hits that are reordered.
        cuts: Tokens of a document where vectors are computed for the search.
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
        """Return stored vectors, then those computed of each cut."""
        words = {tokens: "computed fresh" if tokens else "stored vectors" for tokens in (0, *self._cuts)}
        return [
            Setting(f"{self.name}, {word}", hits, tokens, is_served=False)
            for tokens, word in words.items()
            for hits in self._hits
        ]

    def measure_quality(self, folder: Path, drawn: Draw, model: str) -> None:
        """Keep what is missing of a set.

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
        """Time what is missing of each setting, and of hybrid search's encoding of the query, in turns."""
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
    """Keep what the hits of ``slimrank train hybrid`` give.

    Raises:
        DataError: the run lacks a query.
    """
    run = hits_of_run(runs / f"{drawn.name}.trec", list(drawn.run), NDCG_HITS)
    keep_quality(folder, drawn, HYBRID, str(runs), [first_stage_figures(drawn, HYBRID, run)])


def _cosines(drawn: Draw, teacher: Teacher, hits: int) -> Mapping[str, dict[str, float]]:
    """Return the cosine of each query with its first hits; a document that several queries found is encoded once."""
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
