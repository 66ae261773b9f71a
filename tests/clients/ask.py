"""Ask a gateway through one public Python client; run by that client's own environment, not by the tests'.

CLIENT_PYTHON tests/clients/ask.py FUNCTION URL TOO_LATE      prints the places of the documents, best first, as JSON

Then it asks the server at TOO_LATE, which answers 504 and counts.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

QUERY = "lead pipe"
DOCUMENTS = ["gold ring", "a lead pipe", "pipe"]
KEY = "any"
MODEL = "any"


def _places(results: Iterable[Any]) -> list[int]:
    return [result["index"] if isinstance(result, dict) else result.index for result in results]


def cohere(url: str) -> Any:
    """Both versions of Cohere's API."""
    from cohere import Client, ClientV2

    asked = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
    first = _places(Client(api_key=KEY, base_url=url).rerank(**asked, return_documents=True).results)
    second = _places(ClientV2(api_key=KEY, base_url=url).rerank(**asked, max_tokens_per_doc=100, priority=0).results)
    assert first == second
    return second


def langchain_cohere(url: str) -> Any:
    """LangChain's Cohere compressor."""
    from langchain_cohere import CohereRerank

    compressor = CohereRerank(model=MODEL, cohere_api_key=KEY, base_url=url, top_n=3)
    return _langchain(compressor)


def langchain_nvidia(url: str) -> Any:
    """LangChain's NVIDIA compressor, which asks for the models first."""
    from langchain_nvidia_ai_endpoints import NVIDIARerank

    return _langchain(NVIDIARerank(base_url=f"{url}/v1", nvidia_api_key=KEY, truncate="END"))


def langchain_infinity(url: str) -> Any:
    """LangChain's infinity compressor over infinity's generated client."""
    from infinity_client import Client
    from langchain_community.document_compressors.infinity_rerank import InfinityRerank

    return _langchain(InfinityRerank(client=Client(base_url=url), model=MODEL, top_n=3))


def langchain_voyage(url: str) -> Any:
    """LangChain's Voyage compressor over Voyage's own client."""
    from langchain_voyageai import VoyageAIRerank

    return _langchain(VoyageAIRerank(model=MODEL, api_key=KEY, base_url=f"{url}/v1"))


def _langchain(compressor: Any) -> list[int]:
    from langchain_core.documents import Document

    documents = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(DOCUMENTS)]
    return [document.metadata["place"] for document in compressor.compress_documents(documents, QUERY)]


def voyage(url: str) -> Any:
    """Voyage's own client."""
    import voyageai

    client = voyageai.Client(api_key=KEY, base_url=f"{url}/v1")
    found = client.rerank(QUERY, DOCUMENTS, MODEL)
    assert [result.document for result in found.results] == [DOCUMENTS[place] for place in _places(found.results)]
    return _places(found.results)


def mixedbread(url: str) -> Any:
    """Mixedbread's own client."""
    from mixedbread import Mixedbread

    found = Mixedbread(api_key=KEY, base_url=url).rerank(model=MODEL, query=QUERY, input=DOCUMENTS, top_k=3, return_input=True)
    assert found.return_input
    return _places(found.data)


def xinference(url: str) -> Any:
    """Asks for the model's description first."""
    from xinference_client import RESTfulClient

    return _places(RESTfulClient(url).get_model(MODEL).rerank(DOCUMENTS, QUERY, return_documents=True)["results"])


def infinity(url: str) -> Any:
    """The client generated from infinity's description."""
    from infinity_client import Client
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    body = RerankInput(query=QUERY, documents=DOCUMENTS, return_documents=True)
    return _places(rerank.sync(client=Client(base_url=url), body=body).results)


def litellm(url: str) -> Any:
    """Every provider of LiteLLM's that can be pointed at a server of one's own."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for prices in the network first
    import litellm

    litellm.suppress_debug_info = True
    for name in (
        "COHERE_API_KEY",
        "TOGETHERAI_API_KEY",
        "NVIDIA_NIM_API_KEY",
        "VOYAGE_API_KEY",
        "JINA_AI_API_KEY",
        "INFINITY_API_KEY",
    ):
        os.environ[name] = KEY
    providers = {
        f"cohere/{MODEL}": f"{url}/v2/rerank",
        f"jina_ai/{MODEL}": f"{url}/v1/rerank",
        f"hosted_vllm/{MODEL}": url,
        f"infinity/{MODEL}": url,
        f"voyage/{MODEL}": f"{url}/v1",
        f"huggingface/{MODEL}": url,
        f"nvidia_nim/ranking/{MODEL}": url,
    }
    found = {}
    for model, base in providers.items():
        asked = {"query": QUERY, "documents": DOCUMENTS, "top_n": 3, "api_base": base, "api_key": KEY}
        # infinity alone gives documents back as strings, and LiteLLM takes nothing else from it
        answer = litellm.rerank(model=model, return_documents="infinity" not in model, **asked)
        found[model] = _places(answer.results)
    assert len({tuple(places) for places in found.values()}) == 1, found
    return next(iter(found.values()))


def haystack(url: str) -> Any:
    """Haystack's Cohere, Jina and NVIDIA rankers."""
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker
    from haystack_integrations.components.rankers.jina import JinaRanker
    from haystack_integrations.components.rankers.nvidia import NvidiaRanker

    key = Secret.from_token(KEY)
    documents = [Document(id=str(place), content=text) for place, text in enumerate(DOCUMENTS)]
    found = []
    for ranker in (
        CohereRanker(model=MODEL, api_key=key, api_base_url=url),
        JinaRanker(model=MODEL, api_key=key, base_url=f"{url}/v1/rerank"),
        NvidiaRanker(model=MODEL, api_key=key, api_url=f"{url}/v1"),
    ):
        if hasattr(ranker, "warm_up"):
            ranker.warm_up()
        found.append([int(document.id) for document in ranker.run(query=QUERY, documents=documents)["documents"]])
    assert found[0] == found[1] == found[2], found
    return found[0]


def llama_index(url: str) -> Any:
    """LlamaIndex' Cohere, Jina, TEI, xinference and NVIDIA postprocessors."""
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank
    from llama_index.postprocessor.jinaai_rerank import JinaRerank
    from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    found = []
    for client in (
        CohereRerank(model=MODEL, api_key=KEY, base_url=url, top_n=3),
        JinaRerank(model=MODEL, api_key=KEY, base_url=f"{url}/v1", top_n=3),
        TextEmbeddingInference(base_url=url, top_n=3),
        XinferenceRerank(model=MODEL, base_url=url, top_n=3),
        NVIDIARerank(base_url=f"{url}/v1", top_n=3),
    ):
        nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(DOCUMENTS)]
        ranked = client.postprocess_nodes(nodes, query_bundle=QueryBundle(QUERY))
        found.append([int(node.node.node_id) for node in ranked])
    assert len({tuple(places) for places in found}) == 1, found
    return found[0]


def rerankers(url: str) -> Any:
    """AnswerDotAI's API ranker, over four vendors' formats; it has no option for the address, so it is set."""
    from rerankers.models.api_rankers import APIRanker

    found = []
    for provider, path in (
        ("cohere", "/v2/rerank"),
        ("jina", "/v1/rerank"),
        ("voyage", "/v1/rerank"),
        ("mixedbread.ai", "/v1/reranking"),
    ):
        ranker = APIRanker(MODEL, KEY, api_provider=provider)
        ranker.url = url + path
        found.append([result.doc_id for result in ranker.rank(QUERY, DOCUMENTS)])
    assert len({tuple(places) for places in found}) == 1, found
    return found[0]


def dify(url: str) -> Any:
    """Dify's SDK for plugins, whose class every OpenAI-compatible rerank plugin is."""
    from dify_plugin.interfaces.model.openai_compatible.rerank import OAICompatRerankModel

    model = OAICompatRerankModel([])
    credentials = {"endpoint_url": f"{url}/v1", "api_key": KEY}
    model.validate_credentials(MODEL, credentials)
    return _places(model._invoke(MODEL, credentials, QUERY, DOCUMENTS, top_n=3).docs)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    ask = globals()[sys.argv[1]]
    print(json.dumps(ask(sys.argv[2])), flush=True)
    with contextlib.suppress(Exception):
        ask(sys.argv[3])
    os._exit(0)  # gevent, which Dify's SDK uses, fails as it is torn down
