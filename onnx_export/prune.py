"""Write a checkpoint with fewer layers: the first n of N, then the last norm and the head.

Such a model costs n/N. Without training it ranks badly. Trained with fewer layers (``model.layers`` in a training
configuration), it is a model of its own, or the cheap first model of a cascade (``slimrank.engine.cascade``).
"""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from onnx_export.weights import CHECKPOINT_WEIGHTS, load_weights
from slimrank.adapters import VALUES_FILE, layer_of
from slimrank.errors import DataError, ModelSourceError
from slimrank.files import parse_json, read_text
from slimrank.folders import marked_by, new_folder

CHECKPOINT_CONFIG = "config.json"


def keep_layers(checkpoint: Path, layers: int, target: Path) -> Path:
    """Write the checkpoint ``target``: ``checkpoint`` without the layers above the first ``layers``.

    Fusion and calibration were fitted to the whole model and are not copied.

    Raises:
        ModelSourceError: the checkpoint does not have more than ``layers`` layers, or its weights are not in one file.
    """
    present, config, weights = first_layers(checkpoint, layers)
    if layers == present:
        raise _cannot_keep(layers, checkpoint, present)
    with new_folder(target, marked_by(CHECKPOINT_CONFIG), "a checkpoint") as partial:
        for file in checkpoint.iterdir():
            if file.is_file() and file.name not in (CHECKPOINT_WEIGHTS, VALUES_FILE, CHECKPOINT_CONFIG):
                shutil.copy(file, partial / file.name)
        write_config(config, partial)
        save_file(weights, partial / CHECKPOINT_WEIGHTS, metadata={"format": "pt"})
    return target


def first_layers(checkpoint: Path, layers: int) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
    """Return how many layers a checkpoint has, and its configuration and weights with only the first ``layers``.

    Raises:
        ModelSourceError: the checkpoint has fewer than ``layers`` layers, or its weights are not in one file.
    """
    try:
        config = parse_json(read_text(checkpoint / CHECKPOINT_CONFIG))
        present = int(config["num_hidden_layers"])
        weights = load_weights(checkpoint / CHECKPOINT_WEIGHTS)
    except (DataError, ModelSourceError, ValueError, KeyError, TypeError) as error:
        raise ModelSourceError(f"cannot take layers off {checkpoint}: {error}; it needs {CHECKPOINT_WEIGHTS}") from error
    if not 1 <= layers <= present:
        raise _cannot_keep(layers, checkpoint, present)
    config["num_hidden_layers"] = layers
    if isinstance(config.get("layer_types"), list):
        config["layer_types"] = config["layer_types"][:layers]
    return present, config, {name: weight for name, weight in weights.items() if (layer_of(name) or 0) < layers}


def write_config(config: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint's configuration."""
    (folder / CHECKPOINT_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _cannot_keep(layers: int, checkpoint: Path, present: int) -> ModelSourceError:
    return ModelSourceError(f"asked to keep {layers} layers of {checkpoint}, which has {present}; name fewer, at least 1")
