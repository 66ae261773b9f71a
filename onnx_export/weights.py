"""Load the tensors of a checkpoint or an adapter from its safetensors file."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from slimrank.errors import ModelSourceError
from slimrank.files import explain_os

CHECKPOINT_WEIGHTS = "model.safetensors"


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        ModelSourceError: the file is missing, incomplete, or of another format.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise ModelSourceError(f"cannot read {path}: {explain_os(error)}") from error
    except (SafetensorError, ValueError) as error:
        raise ModelSourceError(f"{path} is not a safetensors file, or is incomplete: {error}; copy or make it again") from error
