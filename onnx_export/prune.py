"""A checkpoint with fewer layers: its first n, the last norm and the head on top.

Such a model is n/N of the cost. As it is it ranks badly; trained so (``model.layers`` in a training config), it is the cheap
first model of a cascade (``slimrank.serving.cascade``). Fusion and calibration were fitted to the whole model and stay behind.
"""

import json
import re
import shutil
from pathlib import Path

from safetensors.torch import save_file

from onnx_export.adapter import CHECKPOINT_WEIGHTS, load_weights
from onnx_export.shipped import VALUES_FILE
from slimrank.errors import DataError, ModelSourceError
from slimrank.files import parse_json, read_text
from slimrank.folders import marked_by, new_folder

_CONFIG_FILE = "config.json"
_LAYER = re.compile(r"model\.layers\.(\d+)\.")


def keep_layers(checkpoint: Path, layers: int, target: Path) -> Path:
    """Write the checkpoint ``target``: ``checkpoint`` without the layers above the first ``layers``.

    Raises:
        ModelSourceError: it has no more layers than that, or its weights are not in one file.
    """
    try:
        config = parse_json(read_text(checkpoint / _CONFIG_FILE))
        present = int(config["num_hidden_layers"])
        weights = load_weights(checkpoint / CHECKPOINT_WEIGHTS)
    except (DataError, ModelSourceError, ValueError, KeyError, TypeError) as error:
        raise ModelSourceError(f"cannot take layers off {checkpoint}: {error}; it needs {CHECKPOINT_WEIGHTS}") from error
    if not 1 <= layers < present:
        raise ModelSourceError(f"asked to keep {layers} layers of {checkpoint}, which has {present}; name fewer, at least 1")
    config["num_hidden_layers"] = layers
    if isinstance(config.get("layer_types"), list):
        config["layer_types"] = config["layer_types"][:layers]
    with new_folder(target, marked_by(_CONFIG_FILE), "a checkpoint") as partial:
        for file in checkpoint.iterdir():
            if file.is_file() and file.name not in (CHECKPOINT_WEIGHTS, VALUES_FILE, _CONFIG_FILE):
                shutil.copy(file, partial / file.name)
        (partial / _CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        kept = {name: weight for name, weight in weights.items() if _is_kept(name, layers)}
        save_file(kept, partial / CHECKPOINT_WEIGHTS, metadata={"format": "pt"})
    return target


def _is_kept(name: str, layers: int) -> bool:
    found = _LAYER.match(name)
    return found is None or int(found[1]) < layers
