"""A LoRA adapter on disk: the names of its files and weights, and how many layers of its base model it keeps.

Training writes adapters and export merges them. They load the tensors themselves, since the core does not import torch.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from slimrank.errors import DataError, ModelSourceError
from slimrank.files import parse_json, read_text, replace_text
from slimrank.manifest import ADAPTER_FILE, sha256_of

WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE = "adapter_model.safetensors", ADAPTER_FILE, "slimrank.json"
ADAPTER_HASH_KEY = "adapter_sha256"
"""The key under which a manifest records the hash of the adapter that its model was made with."""
LAYERS_KEY = "layers"
_LORA_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")

Tensor = TypeVar("Tensor")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and not a whole model."""
    return (folder / CONFIG_FILE).is_file()


def adapter_hash(folder: Path) -> str:
    """Return one hash of an adapter's three files."""
    files = (folder / name for name in (WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE))
    return hashlib.sha256(" ".join(sha256_of(file) if file.is_file() else "-" for file in files).encode()).hexdigest()


def scale_of(config: Mapping[str, Any]) -> float:
    """Return the factor of ``B @ A`` in an adapter with this PEFT configuration."""
    return float(config["lora_alpha"]) / float(config["r"])


def sides_of(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Sort the tensors of an adapter by module.

    Returns:
        For each module its tensors "A" and "B"; and the names of the tensors that are not LoRA weights.
    """
    sides: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, tensor in tensors.items():
        if match := _LORA_NAME.match(name):
            sides.setdefault(match["module"], {})[match["side"]] = tensor
        else:
            others.append(name)
    return sides, others


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a weight belongs to; None = no layer."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def layers_of(adapter: Path) -> int | None:
    """Return how many layers of its base model an adapter keeps, counted from the first; None = all.

    Raises:
        ModelSourceError: the number is not a whole number from 1.
    """
    path = adapter / VALUES_FILE
    layers = read_object(path).get(LAYERS_KEY) if path.is_file() else None
    if layers is not None and (type(layers) is not int or layers < 1):
        raise ModelSourceError(
            f"{path}: {LAYERS_KEY} must be the number of layers that are kept, a whole number from 1; found {json.dumps(layers)[:80]}"
        )
    return layers


def record(adapter: Path, values: Mapping[str, object]) -> None:
    """Write values to an adapter's ``slimrank.json``; its other values stay.

    Raises:
        ModelSourceError: the file is there and holds something else.
    """
    path = adapter / VALUES_FILE
    known = read_object(path) if path.is_file() else {}
    with replace_text(path) as file:
        file.write(json.dumps(known | dict(values), indent=2) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of an adapter that holds one JSON object.

    Raises:
        ModelSourceError: it holds something else.
    """
    try:
        content = parse_json(read_text(path))
    except (DataError, ValueError) as error:
        raise ModelSourceError(f"{path} is not JSON ({error}); make it again") from error
    if not isinstance(content, dict):
        raise ModelSourceError(f"{path} does not hold a JSON object; make it again")
    return content
