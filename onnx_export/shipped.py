"""The files of an adapter, and what tells a model that was made of one from a model that was made of another.

Reads names and hashes only, so that asking whether a shipped model is up to date costs no torch.
The arithmetic is ``onnx_export.adapter``'s.
"""

import hashlib
from pathlib import Path

from slimrank.manifest import ADAPTER_FILE, sha256_of

WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE = "adapter_model.safetensors", ADAPTER_FILE, "slimrank.json"
ADAPTER_HASH_KEY = "adapter_sha256"
GRAPH_NUMBER_KEY = "graph_number"
GRAPH_NUMBERS = {"fp16": 2, "int8": 2}
"""By precision, raised by hand where the serving graph is written so differently that folders made before are to be made anew;
1 where none is given, as is the number of a folder that has none. fp16: norms sum in float32, padding has positions.
int8: weights are rounded so that products stay."""


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds an adapter rather than a whole model."""
    return (folder / CONFIG_FILE).is_file()


def graph_number(precision: str) -> str:
    """Return the number of the graph that is written now in this precision."""
    return str(GRAPH_NUMBERS.get(precision, 1))


def adapter_hash(folder: Path) -> str:
    """Return one hash of an adapter's weights, configuration and fitted values."""
    files = (folder / name for name in (WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE))
    return hashlib.sha256(" ".join(sha256_of(file) if file.is_file() else "-" for file in files).encode()).hexdigest()
