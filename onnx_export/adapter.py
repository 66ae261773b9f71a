"""A LoRA adapter on disk -> a merged checkpoint: ``weight + scale * B @ A`` for each module.

Adapters are how trained models travel: megabytes beside a base model that anyone can fetch. The
arithmetic is done on the tensors themselves, in float32; PEFT is not needed. An adapter folder
holds ``adapter_model.safetensors``, ``adapter_config.json`` and ``slimrank.json`` (fusion weight,
calibration and how many layers of its base it keeps, which belong to the model but not to its weights).
The hash of all three goes with what is made of it, so that another adapter of the same name is noticed.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from onnx_export.prune import first_layers, write_config
from onnx_export.shipped import ADAPTER_HASH_KEY, CONFIG_FILE, VALUES_FILE, WEIGHTS_FILE, adapter_hash
from onnx_export.weights import CHECKPOINT_WEIGHTS, load_weights
from slimrank.errors import DataError, ModelSourceError, SlimrankError
from slimrank.files import parse_json, read_text, replace_text
from slimrank.folders import marked_by, new_folder
from slimrank.manifest import Calibration, Fusion

LAYERS_KEY = "layers"
_MERGED_FILE = "adapter.json"
_LORA_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")


def merged_hash(checkpoint: Path) -> str | None:
    """Return the hash of the adapter that a checkpoint was merged with, or None where it was with none."""
    path = checkpoint / _MERGED_FILE
    return str(_json_of(path).get(ADAPTER_HASH_KEY)) if path.is_file() else None


def merge(adapter: Path, base: Path, target: Path) -> Path:
    """Write the checkpoint ``target``: ``base`` with the adapter added, and its ``slimrank.json``.

    Of the base's layers only the first are kept, where the adapter says how many.

    Raises:
        ModelSourceError: the folder holds no LoRA adapter, or it was made for another base model.
    """
    scale, sides = _read(adapter)
    layers = layers_of(adapter)
    if layers is None:
        config, weights = None, load_weights(base / CHECKPOINT_WEIGHTS)
    else:
        try:
            _, config, weights = first_layers(base, layers)
        except ModelSourceError as error:
            raise ModelSourceError(f"the adapter {adapter} does not fit the base model {base}: {error}") from error
    for module, pair in sides.items():
        name = f"{module}.weight"
        if name not in weights or set(pair) != {"A", "B"} or weights[name].shape != (len(pair["B"]), pair["A"].shape[1]):
            raise ModelSourceError(
                f"the adapter {adapter} does not fit the base model {base}: {name} is missing or of another shape"
            )
        weights[name] = (weights[name].float() + scale * pair["B"].float() @ pair["A"].float()).contiguous()
    with new_folder(target, marked_by(_MERGED_FILE), "a merged model") as partial:
        for file in base.iterdir():
            if file.is_file() and file.name != CHECKPOINT_WEIGHTS:
                shutil.copy(file, partial / file.name)
        if config is not None:
            write_config(config, partial)
        save_file(weights, partial / CHECKPOINT_WEIGHTS, metadata={"format": "pt"})
        if (adapter / VALUES_FILE).is_file():
            shutil.copy(adapter / VALUES_FILE, partial / VALUES_FILE)
        record = {"adapter": adapter.resolve().name, ADAPTER_HASH_KEY: adapter_hash(adapter)}
        (partial / _MERGED_FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")
    return target


def values_of(folder: Path) -> dict[str, Any]:
    """Return fusion and calibration of an adapter or merged checkpoint, or nothing where none were fitted.

    Raises:
        ModelSourceError: the file is there but cannot be read.
    """
    path = folder / VALUES_FILE
    if not path.is_file():
        return {}
    try:
        content = parse_json(read_text(path))
        found = {name: content[name] for name in ("fusion", "calibration") if name in content}
        Calibration.model_validate(found.get("calibration", {}))
        Fusion.model_validate(found.get("fusion", {"weight": 0, "first_stage": ""}))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelSourceError(f"{path}: {place}: {first['msg']}; fit it again with `slimrank train fit`") from error
    except (DataError, ValueError, TypeError) as error:
        raise ModelSourceError(
            f"{path} is not a file of fitted values ({error}); fit them again with `slimrank train fit`"
        ) from error
    return found


def layers_of(adapter: Path) -> int | None:
    """Return how many layers of its base an adapter keeps, the first ones; None = all.

    Raises:
        ModelSourceError: what it says is no number of layers.
    """
    path = adapter / VALUES_FILE
    layers = _json_of(path).get(LAYERS_KEY) if path.is_file() else None
    if layers is not None and (type(layers) is not int or layers < 1):
        raise ModelSourceError(
            f"{path}: {LAYERS_KEY} is how many layers of the base are kept, a whole number from 1; found {json.dumps(layers)[:80]}"
        )
    return layers


def recorded_precision(folder: Path) -> dict[str, Any]:
    """Return how this model is exported where nobody says: as ``record_precision`` noted, else in fp32.

    Returns:
        ``precision``, ``in_float`` and ``in_two`` as ``onnx_export.export.export`` takes them.
    """
    path = folder / VALUES_FILE
    noted = _json_of(path).get("precision", {}) if path.is_file() else {}
    chosen = {name: tuple(noted.get(name, ())) for name in ("in_float", "in_two")}
    return {"precision": noted.get("precision", "fp32")} | chosen


def record_precision(adapter: Path, choice: dict[str, Any]) -> None:
    """Note in an adapter's ``slimrank.json`` how its model is to be exported, and the figures that speak for it."""
    path = adapter / VALUES_FILE
    content = _json_of(path) if path.is_file() else {}
    with replace_text(path) as file:
        file.write(json.dumps(content | {"precision": choice}, indent=2) + "\n")


def _json_of(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_text(path))
    except (DataError, ValueError) as error:
        raise ModelSourceError(f"{path} is not JSON ({error}); make it again") from error
    if not isinstance(content, dict):
        raise ModelSourceError(f"{path} holds no JSON object; make it again")
    return content


def _read(adapter: Path) -> tuple[float, dict[str, dict[str, torch.Tensor]]]:
    try:
        config = parse_json(read_text(adapter / CONFIG_FILE))
        scale = float(config["lora_alpha"]) / float(config["r"])
        tensors = load_weights(adapter / WEIGHTS_FILE)
    except (SlimrankError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        raise ModelSourceError(f"{adapter} holds no LoRA adapter: {error}; it needs {CONFIG_FILE} and {WEIGHTS_FILE}") from error
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = _LORA_NAME.match(name)
        if match is None:
            raise ModelSourceError(
                f"{adapter} changes {name}, which is no LoRA weight; merge it with PEFT and export the checkpoint"
            )
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    return scale, sides
