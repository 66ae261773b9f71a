"""LangChain: a document compressor.

from langchain_classic.retrievers import ContextualCompressionRetriever
from connector.frameworks.langchain import SlimrankCompressor

retriever = ContextualCompressionRetriever(
    base_compressor=SlimrankCompressor(scorer="http://localhost:8080", top_n=5), base_retriever=bm25
)
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from connector.frameworks.ranking import OnFailure, place

SCORE = "relevance_score"
"""LangChain's name for the score in a document's metadata."""


class SlimrankCompressor(BaseDocumentCompressor):
    """Returns copies of the best documents, best first, with the score in the metadata of each.

    Attributes:
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        top_n: How many documents to return; None returns all.
        instruction: How to judge, such as "prefer recent manuals".
        on_failure: With "keep_order", a failure of the scorer returns the documents in their given order.
        first_stage_order: Whether the retriever sorts by relevance; then the model may use its order as a prior.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    scorer: Any
    top_n: int | None = None
    instruction: str | None = None
    on_failure: OnFailure = "raise"
    first_stage_order: bool = True

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the best documents.

        Raises:
            SlimrankError: the scorer failed, with on_failure="raise".
        """
        texts = [document.page_content for document in documents]
        placed = place(
            self.scorer, query, texts, top_n=self.top_n, instruction=self.instruction, on_failure=self.on_failure,
            first_stage_order=self.first_stage_order,
        )  # fmt: skip
        return [_copied(documents[each.index], each.score) for each in placed]


def _copied(document: Document, score: float | None) -> Document:
    scored = {} if score is None else {SCORE: score}
    return document.model_copy(update={"metadata": deepcopy(document.metadata) | scored})
