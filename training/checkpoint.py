"""Checkpoints of a training run: the adapter, the optimizer's moments and the progress.

A checkpoint is a folder such as ``step-000120``: ``adapter_model.safetensors`` with its configuration (or
a whole model if no adapter is trained), ``state.safetensors`` with the float32 weights and
Adam's moments, and ``progress.json``; it holds no pickles. It is written to a hidden folder and renamed when
complete, so that the last complete checkpoint survives a kill or a full disk.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slimrank.adapters import LAYERS_KEY, record
from slimrank.errors import ConfigError

PREFIX = "step-"


def save_checkpoint(
    output: Path,
    step: int,
    model: Any,
    state: dict[str, Tensor],
    progress: dict[str, Any],
    *,
    keep: int,
    layers: int | None = None,
) -> Path:
    """Write a checkpoint and remove all but the newest ``keep``.

    Args:
        layers: How many layers of the base model the adapter keeps; None = all.

    Raises:
        ConfigError: the checkpoint cannot be written; earlier checkpoints stay as they are.
    """
    output.mkdir(parents=True, exist_ok=True)
    place = output / f"{PREFIX}{step:06d}"
    partial = output / f".{place.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        model.save_pretrained(partial, safe_serialization=True)
        if layers is not None:
            record(partial, {LAYERS_KEY: layers})
        save_file(state, partial / "state.safetensors")
        (partial / "progress.json").write_text(json.dumps({"step": step, **progress}), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        partial.replace(place)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ConfigError(
            f"cannot write the checkpoint {place}: {error}; free some space and start the same command again, it resumes the run"
        ) from error
    for old in checkpoints(output)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def checkpoints(output: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return sorted(path for path in output.glob(f"{PREFIX}*") if (path / "progress.json").is_file())


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the progress of a checkpoint."""
    return load_file(path / "state.safetensors"), json.loads((path / "progress.json").read_text(encoding="utf-8"))


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str], masters: list[Tensor]) -> dict[str, Tensor]:
    """Return the float32 weights and Adam's moments under flat names."""
    state: dict[str, Tensor] = {}
    for name, master in zip(names, masters, strict=True):
        state[f"weight/{name}"] = master.detach().contiguous()
        for key, value in optimizer.state[master].items():
            state[f"{key}/{name}"] = value.detach().contiguous()
    return state


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], masters: list[Tensor], state: dict[str, Tensor]
) -> None:
    """Restore the state that ``optimizer_state`` returned.

    Raises:
        ConfigError: the checkpoint belongs to another model or adapter.
    """
    for name, master in zip(names, masters, strict=True):
        weight = state.get(f"weight/{name}")
        if weight is None or weight.shape != master.shape:
            raise ConfigError(f"the checkpoint does not fit this configuration: {name}; choose another output folder")
        with torch.no_grad():
            master.copy_(weight)
        for key in ("step", "exp_avg", "exp_avg_sq"):
            optimizer.state[master][key] = state[f"{key}/{name}"].clone()
