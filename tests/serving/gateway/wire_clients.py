"""Ask a gateway through the public clients of other vendors; run by their own environment, not by the tests'.

CLIENTS_PYTHON tests/serving/gateway/wire_clients.py URL      prints JSON, one ranking or error a client
"""

import json
import sys
from typing import Any

QUERY = "lead pipe"
DOCUMENTS = ["gold ring", "a lead pipe", "pipe"]


def cohere_v1(url: str) -> dict[str, Any]:
    """Ask through cohere.Client and what it returns for a wrong request."""
    import cohere

    client = cohere.Client(api_key="none", base_url=url)
    answer = client.rerank(model="fake", query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True)
    texts = [result.document.text for result in answer.results]
    return _ranking(answer) | {"texts": texts, "id": bool(answer.id), "units": answer.meta.billed_units.search_units}


def cohere_v2(url: str) -> dict[str, Any]:
    """Ask through cohere.ClientV2."""
    import cohere

    client = cohere.ClientV2(api_key="none", base_url=url)
    answer = client.rerank(model="fake", query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=100)
    try:
        client.rerank(model="fake", query="", documents=DOCUMENTS)
    except cohere.errors.BadRequestError as error:
        return _ranking(answer) | {"error": error.body["message"]}
    return {}


def _ranking(answer: Any) -> dict[str, Any]:
    return {"order": [result.index for result in answer.results], "scores": [result.relevance_score for result in answer.results]}


def jina(url: str) -> dict[str, Any]:
    """Ask through LlamaIndex' Jina reranker."""
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    client = JinaRerank(api_key="none", base_url=f"{url}/v1", model="fake", top_n=3)
    try:
        _nodes(client, query="")
    except RuntimeError as error:
        return _nodes(client) | {"error": str(error)}
    return {}


def tei(url: str) -> dict[str, Any]:
    """Ask through LlamaIndex' client of Text Embeddings Inference."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return _nodes(TextEmbeddingInference(base_url=url, top_n=3))


def _nodes(client: Any, query: str = QUERY) -> dict[str, Any]:
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(DOCUMENTS)]
    ranked = client.postprocess_nodes(nodes, query_bundle=QueryBundle(query))
    return {"order": [int(node.node.node_id) for node in ranked], "scores": [node.score for node in ranked]}


if __name__ == "__main__":
    print(json.dumps({ask.__name__: ask(sys.argv[1]) for ask in (cohere_v1, cohere_v2, jina, tei)}))
