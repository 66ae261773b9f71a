"""Load a checkpoint, a causal LM or a cross-encoder, and cut the LM's head down to the two answer tokens.

The two rows of the head give exactly the logits that the full head gives for these tokens. No layer is added, and
nothing is trained. ``export`` traces the model with the cut head; ``verify`` compares with the full head.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from onnx_export import cross_encoder
from slimrank.errors import ModelSourceError
from slimrank.manifest import Architecture, Kind, sha256_of
from slimrank.prompt import Prompt, PromptEncoder


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint with its full head, in float32 on the CPU."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    folder: Path
    pair: Prompt | None = None
    """The pair template of a cross-encoder; None = a language model, which gets a prompt."""

    @property
    def kind(self) -> Kind:
        """What the checkpoint holds."""
        return "cross_encoder" if self.pair else "language_model"

    def encoder(self, prompt: Prompt, *, max_pair_tokens: int, max_query_tokens: int) -> PromptEncoder:
        """Return an encoder with a tokenizer of its own.

        Raises:
            ConfigError: an answer is not one token of this model.
        """
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        return PromptEncoder(prompt, tokenizer, max_pair_tokens=max_pair_tokens, max_query_tokens=max_query_tokens)

    @property
    def architecture(self) -> Architecture:
        """The shapes of this model's keys and values."""
        config = self.model.config
        heads = config.num_attention_heads
        return Architecture(
            layers=config.num_hidden_layers,
            key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint folder.

    Raises:
        ModelSourceError: the model gives no score, or transformers cannot load it with a fast tokenizer.
    """
    kind = cross_encoder.kind_of(folder)
    try:
        with quiet():
            if kind == "cross_encoder":
                model = cross_encoder.load(folder)
            else:
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise ModelSourceError(f"{folder} cannot be loaded as a {kind.replace('_', ' ')}: {error}") from error
    return Checkpoint(model.eval(), tokenizer, folder, cross_encoder.pair_prompt(tokenizer) if kind == "cross_encoder" else None)


def weights_hash(folder: Path) -> str:
    """Return the hash of a checkpoint's weights; of several files, their hashes, shortened and joined."""
    parts = [sha256_of(file) for file in sorted(folder.rglob("*.safetensors"))]
    return parts[0] if len(parts) == 1 else "+".join(part[:16] for part in parts)


def with_answer_head(model: PreTrainedModel, answer_ids: list[int]) -> PreTrainedModel:
    """Replace the LM head by its rows for ``answer_ids``, in that order; this changes the model in place."""
    full: Any = model.get_output_embeddings()
    head = torch.nn.Linear(full.in_features, len(answer_ids), bias=full.bias is not None)
    with torch.no_grad():
        head.weight.copy_(full.weight[answer_ids])
        if full.bias is not None:
            head.bias.copy_(full.bias[answer_ids])
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(head)
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings and progress bars off the terminal; errors still raise."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        transformers_logging.set_verbosity(level)
