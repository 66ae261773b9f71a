"""The tensors of a checkpoint or an adapter, from its one safetensors file."""

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
        ModelSourceError: it is not there, cut short, or something else.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise ModelSourceError(f"cannot read {path}: {explain_os(error)}") from error
    except (SafetensorError, ValueError) as error:
        raise ModelSourceError(f"{path} is no safetensors file, or not a whole one: {error}; copy or make it again") from error
