"""LlamaIndex: a node postprocessor.

from connector.frameworks.llamaindex import SlimrankPostprocessor

engine = index.as_query_engine(
    similarity_top_k=50, node_postprocessors=[SlimrankPostprocessor(scorer="http://localhost:8080", top_n=5)]
)
"""

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from connector.frameworks.ranking import OnFailure, place
from slimrank.errors import InvalidRequest

RETRIEVAL_SCORE = "retrieval_score"
"""LlamaIndex's own rerankers keep the retriever's score under this name."""


class SlimrankPostprocessor(BaseNodePostprocessor):
    """Returns the best nodes, best first; the text judged is the node's, with the metadata meant for embedding.

    Attributes:
        scorer: a gateway's URL, a loaded `slimrank.Reranker`, or a Scorer.
        top_n: how many to return; None returns all.
        instruction: how to judge, such as "prefer recent manuals".
        keep_retrieval_score: keep the retriever's score in the node's metadata.
        on_failure: "keep_order" returns the nodes as they came where the scorer fails.
        first_stage_order: the retriever's order is one of relevance, which the model may use as a prior.
    """

    scorer: Any
    top_n: int | None = None
    instruction: str | None = None
    keep_retrieval_score: bool = False
    on_failure: OnFailure = "raise"
    first_stage_order: bool = True

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows this class by."""
        return "SlimrankPostprocessor"

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidRequest("nodes were to be reranked without a query; pass query_bundle or query_str")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        placed = place(
            self.scorer, query_bundle.query_str, texts, top_n=self.top_n, instruction=self.instruction,
            on_failure=self.on_failure, first_stage_order=self.first_stage_order,
        )  # fmt: skip
        return [self._scored(nodes[each.index], each.score) for each in placed]

    def _scored(self, node: NodeWithScore, score: float | None) -> NodeWithScore:
        if score is None:
            return node
        if self.keep_retrieval_score:
            node.node.metadata[RETRIEVAL_SCORE] = node.score
        return NodeWithScore(node=node.node, score=score)
