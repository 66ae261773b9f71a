"""Merge a LoRA adapter into its base model: ``weight + scale * B @ A`` for each module.

Trained models are published as adapters: a few megabytes, beside a base model that anyone can download. The
tensors are added here in float32, without PEFT. An adapter folder holds ``adapter_model.safetensors``,
``adapter_config.json`` and ``slimrank.json``: the fusion weight, the calibration, and how many layers of the base
model the adapter keeps. One hash of the three files is recorded in the merged checkpoint and in the model folder,
so that a changed adapter of the same name is noticed.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from onnx_export.prune import first_layers, write_config
from onnx_export.weights import CHECKPOINT_WEIGHTS, load_weights
from slimrank.adapters import (
    ADAPTER_HASH_KEY,
    CONFIG_FILE,
    VALUES_FILE,
    WEIGHTS_FILE,
    adapter_hash,
    layers_of,
    read_object,
    record,
    scale_of,
    sides_of,
)
from slimrank.errors import DataError, ModelSourceError, SlimrankError
from slimrank.files import parse_json, read_text
from slimrank.folders import marked_by, new_folder
from slimrank.manifest import Calibration, Fusion

_MERGED_FILE = "adapter.json"
_PEFT_PREFIX = "base_model.model."


def merged_hash(checkpoint: Path) -> str | None:
    """Return the hash of the adapter that was merged into a checkpoint; None if there was no adapter."""
    path = checkpoint / _MERGED_FILE
    return str(read_object(path).get(ADAPTER_HASH_KEY)) if path.is_file() else None


def merge(adapter: Path, base: Path, target: Path) -> Path:
    """Write the checkpoint ``target``: ``base`` with the adapter added, and the adapter's ``slimrank.json``.

    If the adapter says how many layers it keeps, the layers above these are dropped.

    Raises:
        ModelSourceError: the folder holds no LoRA adapter, or the adapter was made for another base model.
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
    """Return the fusion and the calibration of an adapter or a merged checkpoint, as far as they were fitted.

    Raises:
        ModelSourceError: ``slimrank.json`` is there but cannot be read.
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


def recorded_precision(folder: Path) -> dict[str, Any]:
    """Return the precision that ``record_precision`` recorded for a model; fp32 if it recorded none.

    Returns:
        ``precision``, ``in_float`` and ``in_two`` as ``onnx_export.export.export`` takes them.
    """
    path = folder / VALUES_FILE
    noted = read_object(path).get("precision", {}) if path.is_file() else {}
    chosen = {name: tuple(noted.get(name, ())) for name in ("in_float", "in_two")}
    return {"precision": noted.get("precision", "fp32")} | chosen


def record_precision(adapter: Path, choice: dict[str, Any]) -> None:
    """Record in an adapter's ``slimrank.json`` how its model is to be exported, with the measured figures."""
    record(adapter, {"precision": choice})


def _read(adapter: Path) -> tuple[float, dict[str, dict[str, torch.Tensor]]]:
    try:
        config = parse_json(read_text(adapter / CONFIG_FILE))
        scale = scale_of(config)
        tensors = load_weights(adapter / WEIGHTS_FILE)
    except (SlimrankError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        raise ModelSourceError(f"{adapter} holds no LoRA adapter: {error}; it needs {CONFIG_FILE} and {WEIGHTS_FILE}") from error
    sides, others = sides_of(tensors)
    if others:
        raise ModelSourceError(
            f"{adapter} changes {others[0]}, which is not a LoRA weight; merge it with PEFT and export the checkpoint"
        )
    return scale, {module.removeprefix(_PEFT_PREFIX): pair for module, pair in sides.items()}
