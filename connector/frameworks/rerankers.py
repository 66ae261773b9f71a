"""AnswerDotAI's `rerankers`: the same `rank()` over slimrank, with their documents and results.

from connector.frameworks.rerankers import SlimrankRanker

ranker = SlimrankRanker("http://localhost:8080")
best = ranker.rank("run a shell command", ["subprocess.run ...", "os.listdir ..."], doc_ids=[7, 9]).top_k(1)[0]
"""

import asyncio
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

from rerankers import Document
from rerankers.models.ranker import BaseRanker
from rerankers.results import RankedResults, Result

from connector.frameworks.ranking import AnyScorer, OnFailure, place
from connector.scorers import scorer_of
from slimrank.errors import InvalidRequest

Ids: TypeAlias = Sequence[int | str]
Metadata: TypeAlias = Sequence[Mapping[str, Any]]
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

    def rank(self, query: str, docs: Documents, doc_ids: Ids | None = None, metadata: Metadata | None = None) -> RankedResults:
        """Return copies of all documents, best first.

        Args:
            doc_ids: one a document; left out, the documents' own, else their places.
            metadata: one a document; left out, the documents' own.

        Raises:
            InvalidRequest: there are more or fewer ids or metadata than documents, or a document has no text.
            SlimrankError: the scorer failed, with on_failure="raise".
        """
        documents = _documents([docs] if isinstance(docs, str | Document) else docs, doc_ids, metadata)
        placed = place(
            self.scorer, query, [document.text for document in documents], instruction=self.instruction,
            on_failure=self.on_failure, first_stage_order=self.first_stage_order,
        )  # fmt: skip
        results = [Result(document=documents[each.index], score=each.score, rank=number) for number, each in enumerate(placed, 1)]
        return RankedResults(results=results, query=query, has_scores=all(each.score is not None for each in placed))

    async def rank_async(
        self, query: str, docs: Documents, doc_ids: Ids | None = None, metadata: Metadata | None = None
    ) -> RankedResults:
        """Return what `rank` returns, without blocking the caller's event loop."""
        return await asyncio.to_thread(self.rank, query, docs, doc_ids, metadata)

    def as_langchain_compressor(self, k: int = 10) -> Any:
        """Return a LangChain compressor that keeps the `k` best; needs slimrank[langchain]."""
        from connector.frameworks.langchain import SlimrankCompressor

        return SlimrankCompressor(
            scorer=self.scorer, top_n=k, instruction=self.instruction, on_failure=self.on_failure,
            first_stage_order=self.first_stage_order,
        )  # fmt: skip


def _documents(given: Sequence[str | Document], doc_ids: Ids | None, metadata: Metadata | None) -> list[Document]:
    """Return new documents; `rerankers.utils.prep_docs` would write ids into the caller's own."""
    for name, values in (("doc_ids", doc_ids), ("metadata", metadata)):
        if values is not None and len(values) != len(given):
            raise InvalidRequest(f"{name} has {len(values)} entries for {len(given)} documents; pass one a document")
    documents = [deepcopy(each) if isinstance(each, Document) else Document(each) for each in given]
    for number, document in enumerate(documents):
        if document.text is None:
            raise InvalidRequest(f"docs[{number}] is of type {document.document_type} and has no text; pass texts")
        if doc_ids is not None:
            document.doc_id = doc_ids[number]
        elif document.doc_id is None:
            document.doc_id = number
        if metadata is not None:
            document.metadata = deepcopy(dict(metadata[number]))
    return documents
