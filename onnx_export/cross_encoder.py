"""Load a cross-encoder checkpoint: a classifier of pairs with one logit, such as MiniLM, bge-reranker or Ettin.

The pair template of its tokenizer is written as a prompt of special tokens, so that queries and documents are
encoded, cut and cached as for any other model. The reference scores for verification use the tokenizer's own pairs
instead. A checkpoint of any other kind is refused here, with the reason.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from onnx_export.pairs import PairGroup
from slimrank.errors import ConfigError, ModelSourceError
from slimrank.manifest import Kind
from slimrank.prompt import Prompt
from slimrank.types import Scores

MODULES_FILE = "modules.json"
ETTIN = ("Transformer", "Pooling", "Dense", "LayerNorm", "Dense")
"""The modules that sentence-transformers writes for an Ettin reranker: ModernBERT's classifier with its head split into parts."""


def kind_of(folder: Path) -> Kind:
    """Return the kind of model that a checkpoint folder holds.

    Raises:
        ModelSourceError: the model gives several logits, or embeddings only, or the folder cannot be read.
    """
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise ModelSourceError(f"{folder} is not a checkpoint: cannot read its config.json: {error}") from error
    if any(name.endswith("ForSequenceClassification") for name in names):
        labels = AutoConfig.from_pretrained(folder).num_labels
        if labels != 1:
            raise ModelSourceError(
                f"{folder} holds {names[0]} with {labels} logits, and a reranker needs one score a pair; export a cross-encoder"
                " with one label"
            )
        return "cross_encoder"
    if _chain(folder) == ETTIN:
        return "cross_encoder"
    if not names or any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "language_model"
    raise ModelSourceError(
        f"{folder} holds {names[0]}, which gives embeddings and no score of a query with a document; export a cross-encoder with"
        " one logit (...ForSequenceClassification), or a causal language model"
    )


def load(folder: Path) -> PreTrainedModel:
    """Load a cross-encoder in float32 on the CPU.

    Raises:
        ModelSourceError: it has an unknown kind of head.
    """
    if _chain(folder) == ETTIN:
        return _of_chain(folder)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model


def pair_prompt(tokenizer: Tokenizer) -> Prompt:
    """Return the tokenizer's pair template as a prompt: its special tokens before, between and after the two texts."""
    encoding = _own(tokenizer).encode("query", "document")
    around = ["", "", ""]
    place = 0
    for text, token in zip(encoding.sequence_ids, encoding.tokens, strict=True):
        if text is None:
            around[place] += token
        else:
            place = text + 1
    prefix, separator, suffix = around
    return Prompt("pair", prefix=prefix, query="{query}", separator=separator, document="{document}", suffix=suffix)


def check_limit(model: PreTrainedModel, max_pair_tokens: int) -> None:
    """Refuse pairs longer than the model has positions for.

    Raises:
        ConfigError: the model has fewer positions than ``max_pair_tokens``.
    """
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:  # rotary positions
        limit = model.config.max_position_embeddings
    else:  # RoBERTa's positions begin after the padding position
        limit = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    if max_pair_tokens > limit:
        raise ConfigError(
            f"pairs of {max_pair_tokens} tokens were asked for, and the model has positions for {limit}; give"
            f" --max-pair-tokens {limit} or less"
        )


def reference_scores(model: Any, tokenizer: Tokenizer, group: PairGroup, max_pair_tokens: int) -> Scores:
    """Return (N,) scores of the checkpoint, one pair at a time, as its own tokenizer joins a pair; only the document is cut."""
    own = _own(tokenizer)
    own.enable_truncation(max_pair_tokens, strategy="only_second")
    takes_types = getattr(model.config, "type_vocab_size", 0) > 1
    scores = []
    with torch.inference_mode():
        for document in group.documents:
            encoding = own.encode(group.query, document)
            types = {"token_type_ids": torch.tensor([encoding.type_ids])} if takes_types else {}
            ids = torch.tensor([encoding.ids])
            scores.append(model(input_ids=ids, attention_mask=torch.ones_like(ids), **types).logits[0, 0].item())
    return np.array(scores, dtype=np.float32)


def _own(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy without the padding and the truncation that the tokenizer may have been saved with."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _chain(folder: Path) -> tuple[str, ...]:
    """Return the kinds of the modules that sentence-transformers runs in turn; empty if the folder lists no modules."""
    path = folder / MODULES_FILE
    modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return tuple(module["type"].rpartition(".")[2] for module in modules)


def _of_chain(folder: Path) -> PreTrainedModel:
    """Load Ettin's modules into ModernBERT's own classifier, which computes the same."""
    paths = [folder / module["path"] for module in json.loads((folder / MODULES_FILE).read_text(encoding="utf-8"))]
    pooling, first, _, last = (json.loads((path / "config.json").read_text(encoding="utf-8")) for path in paths[1:])
    dense, norm, classifier = (load_file(path / "model.safetensors") for path in paths[2:])
    config = AutoConfig.from_pretrained(folder)
    found = (
        config.model_type,
        pooling.get("pooling_mode"),
        first["activation_function"].rpartition(".")[2],
        last["activation_function"].rpartition(".")[2],
        last["out_features"],
    )
    if found != (known := ("modernbert", "cls", "GELU", "Identity", 1)):
        raise ModelSourceError(
            f"{folder} is a chain of modules with {', '.join(map(str, found))}; only a chain with {', '.join(map(str, known))}"
            " can be exported; save the model as a sequence-classification checkpoint"
        )
    config.num_labels, config.classifier_pooling, config.classifier_activation = 1, "cls", "gelu"
    config.classifier_bias = "linear.bias" in dense
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32)
    model.head.norm = torch.nn.LayerNorm(config.hidden_size)
    for layer, weights, prefix in (
        (model.head.dense, dense, "linear."),
        (model.head.norm, norm, "norm."),
        (model.classifier, classifier, "linear."),
    ):
        layer.load_state_dict({name.removeprefix(prefix): weight for name, weight in weights.items()})
    loaded: PreTrainedModel = model
    return loaded
