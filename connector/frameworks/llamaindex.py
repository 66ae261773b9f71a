"""LlamaIndex: a node postprocessor. LlamaIndex's tracers see it like LlamaIndex's own rerankers.

from connector.frameworks.llamaindex import SlimrankPostprocessor

engine = index.as_query_engine(
    similarity_top_k=50, node_postprocessors=[SlimrankPostprocessor(scorer="http://localhost:8080", top_n=5)]
)
"""

from copy import deepcopy
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # re-exported
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from connector.frameworks.ranking import OnFailure, place
from slimrank.errors import InvalidRequest

dispatcher = get_dispatcher(__name__)

MODEL_NAME = "slimrank"
"""The model name in events; only the scorer knows the real name."""
RETRIEVAL_SCORE = "retrieval_score"
"""LlamaIndex's own rerankers keep the retriever's score under this name."""


class SlimrankPostprocessor(BaseNodePostprocessor):
    """Returns copies of the best nodes, best first. It judges the node's text together with the metadata meant for embedding.

    Attributes:
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        top_n: How many nodes to return; None returns all.
        instruction: How to judge, such as "prefer recent manuals".
        keep_retrieval_score: Whether to keep the retriever's score in the node's metadata.
        on_failure: With "keep_order", a failure of the scorer returns the nodes in their given order.
        first_stage_order: Whether the retriever sorts by relevance; then the model may use its order as a prior.
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
            raise InvalidRequest("asked to rerank nodes without a query; pass query_bundle or query_str")
        top_n = len(nodes) if self.top_n is None else self.top_n
        dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=top_n, model_name=MODEL_NAME))
        told: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: MODEL_NAME,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=told) as event:
            ranked = self._rank(nodes, query_bundle.query_str)
            event.on_end(payload={EventPayload.NODES: ranked})
        dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _rank(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        placed = place(
            self.scorer, query, texts, top_n=self.top_n, instruction=self.instruction,
            on_failure=self.on_failure, first_stage_order=self.first_stage_order,
        )  # fmt: skip
        return [self._copied(nodes[each.index], each.score) for each in placed]

    def _copied(self, given: NodeWithScore, score: float | None) -> NodeWithScore:
        """Return a copy with the new score, or with the retriever's score if there is no new one."""
        node = given.node.model_copy(update={"metadata": deepcopy(given.node.metadata)})
        if score is None:
            return NodeWithScore(node=node, score=given.score)
        if self.keep_retrieval_score:
            node.metadata[RETRIEVAL_SCORE] = given.score
        return NodeWithScore(node=node, score=score)
