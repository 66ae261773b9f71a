"""List the served models, in the formats of clients that ask before they rerank.

`/v1/models` as OpenAI and vLLM have it, with the words that xinference's client looks for; `/info` as Text Embeddings
Inference has it, less what a gateway in front of a queue cannot know.
"""

from collections.abc import Sequence
from typing import Any

from slimrank import __version__
from slimrank.settings import Settings


def models(names: Sequence[str], *, since: int) -> dict[str, Any]:
    """Return the list of models; ``since`` is when this process began, in seconds of the epoch."""
    return {"object": "list", "data": [model(name, since=since) for name in names]}


def model(name: str, *, since: int) -> dict[str, Any]:
    """Return the description of one model."""
    openais = {"id": name, "object": "model", "created": since, "owned_by": "slimrank", "root": name, "parent": None}
    return openais | {"model_name": name, "model_type": "rerank", "model_ability": ["rerank"]}


def info(name: str, settings: Settings, *, document_tokens: int) -> dict[str, Any]:
    """Return what Text Embeddings Inference tells of itself; its classes are how a client knows a reranker.

    Args:
        document_tokens: Of a document that are read where a request does not say; 0 = as many as the model takes.
    """
    return {
        "model_id": name,
        "model_sha": None,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": settings.max_waiting,
        "max_client_batch_size": settings.max_documents,
        "auto_truncate": True,
        "document_tokens": document_tokens or None,
        "version": __version__,
    }
