"""The model in training: loading, the adapter, and the scores of a group.

The documents of a group share their prefix (prompt, instruction, query). The prefix goes through the
model once, its keys and values are expanded over the documents, and gradients flow back through
them. Documents are padded on the right, which causal attention never reads, and the head's two rows are applied only to the
last real position. On a GPU, several groups in one batch, where each document has its own copy of the
prefix, are faster than one group at a time with a shared prefix.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimrank.adapters import CONFIG_FILE, layer_of
from slimrank.errors import ConfigError
from training.config import AdapterConfig, ModelConfig

LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


PADDED_TO = 8
"""Rows are padded to a multiple of this: with fewer shapes there are fewer kernels to prepare."""


def load_model(config: ModelConfig, *, folded: bool = True) -> Any:
    """Return the base model with a trainable adapter; without an adapter, all its weights are trainable.

    Args:
        folded: Fold the adapter into the weights where that is quicker (``training.folded``).

    Raises:
        ConfigError: the folder holds no model that can be loaded.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            config.base, dtype=getattr(torch, config.dtype), attn_implementation=config.attention, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the base model from {config.base}: {error}") from error
    if config.layers is not None:
        model.model.layers = model.model.layers[: config.layers]
        model.config.num_hidden_layers = config.layers
    if config.adapter is None:
        return model
    if config.start is not None:
        return _started(model, config.start, config.adapter.first_layer, folded=folded)
    return add_adapter(model, config.adapter, folded=folded)


def _started(model: Any, start: Path, first_layer: int, *, folded: bool) -> Any:
    """Return the model with the adapter of an earlier stage, of which the layers from ``first_layer`` up are trained.

    If the adapter belongs to a deeper model, only the layers that this model has are loaded.
    """
    from peft import LoraConfig, load_peft_weights, set_peft_model_state_dict

    _check_first_layer(model, first_layer)
    if not (start / CONFIG_FILE).is_file():  # PEFT would take the path for an id, and ask a hub
        raise ConfigError(f"cannot load the adapter {start} to start from: it holds no {CONFIG_FILE}")
    try:
        lora, weights = LoraConfig.from_pretrained(str(start)), load_peft_weights(str(start), device="cpu")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the adapter {start} to start from: {' '.join(str(error).split())}") from error
    layers = model.config.num_hidden_layers
    kept = {name: weight for name, weight in weights.items() if (layer_of(name) or 0) < layers}
    lora.layers_to_transform = sorted({layer_of(name) or 0 for name in kept})
    lora.inference_mode = False
    adapted = _with_lora(model, lora, folded=folded)
    foreign = set_peft_model_state_dict(adapted, kept).unexpected_keys
    if foreign or not kept:
        raise ConfigError(
            f"the adapter {start} does not fit the base model: it changes {foreign[0] if foreign else 'none of its layers'}"
        )
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and (layer_of(name) or 0) < first_layer:
            weight.requires_grad_(False)
    return adapted


def add_adapter(model: Any, config: AdapterConfig, *, folded: bool = True) -> Any:
    """Return the model with a new LoRA adapter on every linear layer from ``first_layer`` up."""
    from peft import LoraConfig

    _check_first_layer(model, config.first_layer)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=LINEAR_LAYERS,
        layers_to_transform=list(range(config.first_layer, model.config.num_hidden_layers)),
        layers_pattern="layers",
        task_type="CAUSAL_LM",
    )
    return _with_lora(model, lora, folded=folded)


def _with_lora(model: Any, lora: Any, *, folded: bool) -> Any:
    from peft import get_peft_model

    from training.folded import FoldedLinear

    if folded:
        lora._register_custom_module({nn.Linear: FoldedLinear})  # PEFT's interface for another layer class
    return get_peft_model(model, lora, autocast_adapter_dtype=False)


def _check_first_layer(model: Any, first_layer: int) -> None:
    layers = model.config.num_hidden_layers
    if first_layer >= layers:
        raise ConfigError(f"the adapter begins at layer {first_layer}, but the model has {layers} layers; lower first_layer")


class GroupScorer(nn.Module):
    """Scores the documents of one query with the causal language model's own head.

    Args:
        model: A causal language model, with or without a PEFT adapter.
        relevant_id: Vocabulary entry of "1".
        irrelevant_id: Vocabulary entry of "0".
    """

    def __init__(self, model: Any, *, relevant_id: int, irrelevant_id: int) -> None:
        super().__init__()
        self.model = model
        self._relevant_id, self._irrelevant_id = relevant_id, irrelevant_id

    def forward(self, prefix: Sequence[int], bodies: Sequence[Sequence[int]]) -> Tensor:
        """Return logit("1") - logit("0") of each document, shape (N,), float32.

        Args:
            prefix: Token ids shared by the group.
            bodies: Token ids of each document, followed by the suffix.
        """
        answers = self.answer_logits(prefix, bodies)
        return answers[:, 1] - answers[:, 0]

    def together(self, groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> list[Tensor]:
        """Return what ``forward`` returns for each group, with all groups scored in one batch.

        Args:
            groups: Prefix and bodies of each group, as ``forward`` takes them.
        """
        hidden = self.last_of([[*prefix, *body] for prefix, bodies in groups for body in bodies])
        answers = hidden.float() @ self._answer_rows().T
        return list((answers[:, 1] - answers[:, 0]).split([len(bodies) for _, bodies in groups]))

    def answer_logits(self, prefix: Sequence[int], bodies: Sequence[Sequence[int]]) -> Tensor:
        """Return the logits of "0" and "1" at the answer slot, shape (N, 2), float32."""
        return self.last_hidden(prefix, bodies).float() @ self._answer_rows().T

    def last_hidden(self, prefix: Sequence[int], bodies: Sequence[Sequence[int]], *, rows_at_once: int | None = None) -> Tensor:
        """Return the final hidden state at the answer slot, shape (N, hidden size).

        Args:
            prefix: Token ids that all rows begin with; at least one.
            bodies: The token ids of each row that follow the prefix.
            rows_at_once: The number of bodies in one batch; bodies of similar length go together, to save padding. None = all.
        """
        shared = _cache()
        self.backbone(input_ids=torch.tensor([list(prefix)], device=self._device), past_key_values=shared, use_cache=True)
        order = sorted(range(len(bodies)), key=lambda index: len(bodies[index])) if rows_at_once else list(range(len(bodies)))
        size = rows_at_once or len(bodies)
        parts = []
        for start in range(0, len(order), size):
            chosen = [bodies[index] for index in order[start : start + size]]
            expanded = _cache()
            for index, layer in enumerate(shared.layers):
                count = len(chosen)
                expanded.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), index)
            parts.append(self.last_of(chosen, past_key_values=expanded, use_cache=True))
        places = torch.tensor(order, device=self._device).argsort()
        return torch.cat(parts)[places]

    def last_of(self, rows: Sequence[Sequence[int]], **cache: Any) -> Tensor:
        """Return the hidden state of each row's last token, shape (rows, hidden size)."""
        lengths = [len(row) for row in rows]
        width = -(-max(lengths) // PADDED_TO) * PADDED_TO
        padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self._device)
        hidden = self.backbone(input_ids=padded, **(cache or {"use_cache": False})).last_hidden_state
        last: Tensor = hidden[torch.arange(len(rows), device=self._device), torch.tensor(lengths, device=self._device) - 1]
        return last

    def _answer_rows(self) -> Tensor:
        """Return the head's rows for "0" and "1", shape (2, hidden size), float32."""
        rows: Tensor = self.model.get_output_embeddings().weight[[self._irrelevant_id, self._relevant_id]].float()
        return rows

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def backbone(self) -> Any:
        """The model below the head; PEFT wraps it twice."""
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return base.model


def _cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()


def tokenizer_file(base: Path) -> Path:
    """Return the tokenizer file of a model folder.

    Raises:
        ConfigError: the folder has no tokenizer.
    """
    path = base / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(f"there is no tokenizer.json in {base}; `slimrank model pull` makes a complete folder")
    return path
