"""AnswerDotAI's `rerankers`: the same `rank()` over slimrank, with their documents and results.

from connector.frameworks.rerankers import SlimrankRanker

ranker = SlimrankRanker("http://localhost:8080")
best = ranker.rank("run a shell command", ["subprocess.run ...", "os.listdir ..."], doc_ids=[7, 9]).top_k(1)[0]
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from rerankers import Document
from rerankers.models.ranker import BaseRanker
from rerankers.results import RankedResults, Result
from rerankers.utils import prep_docs

from connector.frameworks.ranking import AnyScorer, OnFailure, place
from connector.scorers import scorer_of

Documents: TypeAlias = str | Sequence[str] | Document | Sequence[Document]


class SlimrankRanker(BaseRanker):  # type: ignore[misc]  # their package has no types
    """Ranks documents; `rank` counts from 1, also for a lone document.

    Args:
        scorer: a gateway's URL, a loaded `slimrank.Reranker`, or a Scorer.
        instruction: how to judge, such as "prefer recent manuals".
        on_failure: "keep_order" ranks the documents as they came, without scores, where the scorer fails.
        first_stage_order: documents are always given in a retriever's order, which the model may use as a prior; any
            list may be given here, so that has to be said.
    """

    def __init__(
        self,
        scorer: AnyScorer,
        *,
        instruction: str | None = None,
        on_failure: OnFailure = "raise",
        first_stage_order: bool = False,
    ) -> None:
        self.scorer, self.instruction, self.on_failure = scorer, instruction, on_failure
        self.first_stage_order = first_stage_order

    def score(self, query: str, doc: str) -> float:
        """Return the score of one document.

        Raises:
            SlimrankError: the scorer failed.
        """
        return float(scorer_of(self.scorer).score(query, [doc], instruction=self.instruction).scores[0])

    def rank(self, query: str, docs: Documents, doc_ids: Sequence[int | str] | None = None) -> RankedResults:
        """Return all documents, best first.

        Raises:
            SlimrankError: the scorer failed, with on_failure="raise".
        """
        given = [docs] if isinstance(docs, str | Document) else list(docs)
        documents = prep_docs(given, list(doc_ids) if doc_ids is not None else None) if given else []
        texts = [document.text for document in documents]
        placed = place(
            self.scorer, query, texts, instruction=self.instruction, on_failure=self.on_failure,
            first_stage_order=self.first_stage_order,
        )  # fmt: skip
        results = [Result(document=documents[each.index], score=each.score, rank=number) for number, each in enumerate(placed, 1)]
        return RankedResults(results=results, query=query, has_scores=all(each.score is not None for each in placed))

    async def rank_async(self, query: str, docs: Documents, doc_ids: Sequence[int | str] | None = None) -> RankedResults:
        """Return all documents, best first, without blocking the caller's event loop."""
        return await asyncio.to_thread(self.rank, query, docs, doc_ids)

    def as_langchain_compressor(self, k: int = 10) -> Any:
        """Return a LangChain compressor that keeps the `k` best; needs slimrank[langchain]."""
        from connector.frameworks.langchain import SlimrankCompressor

        return SlimrankCompressor(scorer=self.scorer, top_n=k, instruction=self.instruction, on_failure=self.on_failure)
