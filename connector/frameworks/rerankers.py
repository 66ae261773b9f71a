"""AnswerDotAI's ``rerankers``: a ranker with the same ``rank()``, and with that package's documents and results.

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


class SlimrankRanker(BaseRanker):  # type: ignore[misc]  # the package rerankers has no types
    """Ranks documents; the rank counts from 1, also for a single document.

    Args:
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        instruction: How to judge, such as "prefer recent manuals".
        on_failure: With "keep_order", a failure of the scorer ranks the documents in their given order, without scores.
        first_stage_order: Whether every list of documents is in a retriever's order, which the model may use as a prior. The
            default is False, because ``rank`` accepts any list.
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
            doc_ids: One id for each document. Default: the documents' own ids, or else their indices.
            metadata: One entry for each document. Default: the documents' own metadata.

        Raises:
            InvalidRequest: the number of ids or metadata differs from the number of documents, or a document has no text.
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
        """Return what ``rank`` returns, without blocking the caller's event loop."""
        return await asyncio.to_thread(self.rank, query, docs, doc_ids, metadata)

    def as_langchain_compressor(self, k: int = 10) -> Any:
        """Return a LangChain compressor that keeps the ``k`` best documents; needs slimrank[langchain]."""
        from connector.frameworks.langchain import SlimrankCompressor

        return SlimrankCompressor(
            scorer=self.scorer, top_n=k, instruction=self.instruction, on_failure=self.on_failure,
            first_stage_order=self.first_stage_order,
        )  # fmt: skip


def _documents(given: Sequence[str | Document], doc_ids: Ids | None, metadata: Metadata | None) -> list[Document]:
    """Return new documents; ``rerankers.utils.prep_docs`` would write ids into the caller's documents."""
    for name, values in (("doc_ids", doc_ids), ("metadata", metadata)):
        if values is not None and len(values) != len(given):
            raise InvalidRequest(f"{name} has {len(values)} entries for {len(given)} documents; pass one for each document")
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
