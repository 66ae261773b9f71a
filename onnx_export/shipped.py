"""The files of an adapter, and the hash and the graph number by which a shipped model is known to be up to date.

Nothing here needs torch, so that the check is quick. ``onnx_export.adapter`` does the merging.
"""

import hashlib
from pathlib import Path

from slimrank.adapters import CONFIG_FILE, VALUES_FILE, WEIGHTS_FILE
from slimrank.manifest import sha256_of

GRAPH_NUMBER_KEY = "graph_number"
GRAPH_NUMBERS = {"fp16": 2, "int8": 2}
"""The number of the serving graph by precision, default 1. Raise it by hand when a change of the graph means that
folders made before must be made again; a folder without a number has 1. fp16, 2: norms sum in float32, padding has positions.
int8, 2: weights are rounded as in ``onnx_export.rounding``."""


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and not a whole model."""
    return (folder / CONFIG_FILE).is_file()


def graph_number(precision: str) -> str:
    """Return the number of the graph that this release writes in a precision."""
    return str(GRAPH_NUMBERS.get(precision, 1))


def adapter_hash(folder: Path) -> str:
    """Return one hash of an adapter's three files."""
    files = (folder / name for name in (WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE))
    return hashlib.sha256(" ".join(sha256_of(file) if file.is_file() else "-" for file in files).encode()).hexdigest()
