"""The clients that can be installed: what is installed, and what a user sets to reach a gateway at `URL`."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["python", "node", "java", "go", "curl"]


@dataclass(frozen=True, slots=True)
class Client:
    """One client; ``function`` is what asks in the kind's script."""

    name: str
    kind: Kind
    function: str
    packages: tuple[str, ...]
    settings: str


CLIENTS = (
    Client(
        "curl", "curl", "curl", (), "`-H 'content-type: application/json'`, also with `--compressed`, a gzip body or `--http2`"
    ),
    Client("Cohere, Python", "python", "cohere", ("cohere==7.3.1",), '`Client(base_url="URL")`, `ClientV2(base_url="URL")`'),
    Client(
        "Cohere, TypeScript",
        "node",
        "cohere",
        ("cohere-ai@8.1.0",),
        '`new CohereClient({environment: "URL"})`, `CohereClientV2` too',
    ),
    Client("Cohere, Java", "java", "cohere", ("com.cohere:cohere-java:1.9.3",), '`Cohere.builder().url("URL")`'),
    Client("Cohere, Go", "go", "cohere", ("github.com/cohere-ai/cohere-go/v2@v2.15.3",), '`option.WithBaseURL("URL")`'),
    Client("LangChain, Cohere", "python", "langchain_cohere", ("langchain-cohere==0.6.0",), '`CohereRerank(base_url="URL")`'),
    Client(
        "LangChain, infinity",
        "python",
        "langchain_infinity",
        ("langchain-community==0.4.2", "infinity-client==0.0.78"),
        '`InfinityRerank(client=infinity_client.Client(base_url="URL"))`',
    ),
    Client(
        "LangChain, NVIDIA",
        "python",
        "langchain_nvidia",
        ("langchain-nvidia-ai-endpoints==1.5.0",),
        '`NVIDIARerank(base_url="URL/v1")`; scores are raw',
    ),
    Client(
        "LangChain, Voyage", "python", "langchain_voyage", ("langchain-voyageai==0.4.1",), '`VoyageAIRerank(base_url="URL/v1")`'
    ),
    Client(
        "LangChain.js",
        "node",
        "langchain",
        ("@langchain/cohere@1.0.5", "@langchain/core", "cohere-ai@8.1.0"),
        '`new CohereRerank({client: new CohereClient({environment: "URL"})})`',
    ),
    Client(
        "langchain4j",
        "java",
        "langchain4j",
        (
            "dev.langchain4j:langchain4j-cohere:1.11.0-beta19",
            "dev.langchain4j:langchain4j-jina:1.10.0-beta18",
            "dev.langchain4j:langchain4j-voyage-ai:1.9.0-beta16",
        ),
        '`baseUrl("URL/v1/")` of the Cohere and Voyage models, `baseUrl("URL/")` of the Jina model; for Voyage also `truncation(true)`',
    ),
    Client(
        "LlamaIndex",
        "python",
        "llama_index",
        (
            "llama-index-postprocessor-cohere-rerank==0.10.0",
            "llama-index-postprocessor-jinaai-rerank==0.6.0",
            "llama-index-postprocessor-nvidia-rerank==0.7.0",
            "llama-index-postprocessor-tei-rerank==0.6.0",
            "llama-index-postprocessor-xinference-rerank==0.5.0",
        ),
        '`base_url="URL"` of the Cohere, TEI and xinference postprocessors, `base_url="URL/v1"` of the Jina and NVIDIA ones',
    ),
    Client(
        "Haystack",
        "python",
        "haystack",
        ("haystack-ai==3.4.1", "cohere-haystack==11.0.0", "jina-haystack==2.0.1", "nvidia-haystack==3.0.0"),
        '`CohereRanker(api_base_url="URL")`, `JinaRanker(base_url="URL/v1/rerank")`, `NvidiaRanker(api_url="URL/v1")`',
    ),
    Client(
        "LiteLLM",
        "python",
        "litellm",
        ("litellm==1.110.2",),
        "`api_base`: `URL` for `hosted_vllm/`, `huggingface/` and `nvidia_nim/ranking/`, `URL/v2/rerank` for `cohere/`, `URL/v1/rerank` for"
        " `jina_ai/`, `URL/v1` and a `top_n` for `voyage/`, `URL` and `return_documents=False` for `infinity/`",
    ),
    Client(
        "AI SDK",
        "node",
        "aiSdk",
        ("ai@6.0.326", "@ai-sdk/cohere@3.0.63", "@ai-sdk/togetherai@2.0.84"),
        '`createCohere({baseURL: "URL/v2"}).reranking(...)`, `createTogetherAI({baseURL: "URL/v1"}).reranking(...)`',
    ),
    Client("Voyage, Python", "python", "voyage", ("voyageai==0.5.0",), '`voyageai.Client(base_url="URL/v1")`'),
    Client(
        "Voyage, TypeScript",
        "node",
        "voyage",
        ("voyageai@0.4.0",),
        '`new VoyageAIClient({environment: "URL/v1"})`, and `truncation` or `topK`',
    ),
    Client("Mixedbread", "python", "mixedbread", ("mixedbread==0.54.0",), '`Mixedbread(base_url="URL")`'),
    Client("xinference", "python", "xinference", ("xinference-client==4.1.0",), '`RESTfulClient("URL").get_model("any")`'),
    Client("infinity", "python", "infinity", ("infinity-client==0.0.78",), '`infinity_client.Client(base_url="URL")`'),
    Client(
        "rerankers",
        "python",
        "rerankers",
        ("rerankers[api]==0.10.0",),
        '`ranker.url = "URL/v2/rerank"` of an `APIRanker` (it has no option), or [our adapter](../../connector/frameworks/rerankers.py)',
    ),
    Client(
        "Dify, OpenAI-compatible plugins",
        "python",
        "dify",
        ("dify_plugin==0.7.4",),
        "endpoint URL `URL/v1`; scores are spread over 0 to 1 there",
    ),
    Client(
        "LibreChat",
        "node",
        "librechat",
        ("@librechat/agents@3.2.21",),
        "`JINA_API_URL=URL/v1/rerank`, any `JINA_API_KEY`, reranker `jina`",
    ),
)
