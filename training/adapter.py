"""From checkpoints of a run to the adapter that is shipped: average, cut to a rank, write.

What is averaged is what the adapters add to the weights, ``scale * B @ A``, never A and B apart:
their product is not linear. The mean of several has a higher rank, so it is cut back by a singular
value decomposition (Eckart-Young: the nearest matrix of that rank), which must be evaluated after
the cut. Merging into a base model is done where a model folder is made, not here.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slimrank.errors import ConfigError
from slimrank.folders import check_replaceable, new_folder, only

WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
is_adapter_folder = only(WEIGHTS_FILE, CONFIG_FILE, "slimrank.json")
LORA_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")


def differences(folder: Path) -> dict[str, Tensor]:
    """Return what an adapter adds to each module's weight, shape (out, in), float32.

    Raises:
        ConfigError: the folder holds no LoRA adapter.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
        scale = config["lora_alpha"] / config["r"]
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, SafetensorError) as error:
        raise ConfigError(f"{folder} holds no LoRA adapter: {error}") from error
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := LORA_NAME.match(name):
            sides.setdefault(match["module"], {})[match["side"]] = tensor.float()
    return {module: scale * side["B"] @ side["A"] for module, side in sides.items()}


def mean_differences(folders: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean over adapters of the same modules."""
    every = [differences(folder) for folder in folders]
    if any(one.keys() != every[0].keys() for one in every):
        raise ConfigError("the adapters do not belong together: they change different modules; average checkpoints of one run")
    return {module: torch.stack([one[module] for one in every]).mean(dim=0) for module in every[0]}


def cut_to_rank(wanted: Mapping[str, Tensor], rank: int) -> tuple[dict[str, Tensor], float]:
    """Return LoRA tensors of ``rank`` and scale 1 nearest to ``wanted``, and the share of its squared norm they keep."""
    tensors: dict[str, Tensor] = {}
    kept = total = 0.0
    for module, matrix in wanted.items():
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        root = values[:rank].sqrt()
        tensors[f"{module}.lora_A.weight"] = root[:, None] * right[:rank]
        tensors[f"{module}.lora_B.weight"] = left[:, :rank] * root
        kept += float(values[:rank].square().sum())
        total += float(values.square().sum())
    return tensors, kept / total if total else 1.0


def average(folders: Sequence[Path], out: Path, *, rank: int | None = None) -> float:
    """Write the average of adapters as one bfloat16 adapter; return the share of it that the rank keeps.

    Args:
        rank: Of the adapter written; default that of the last folder.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise ConfigError(f"asked to write the average to {out}, which is one of those averaged; name another folder")
    check_replaceable(out, is_adapter_folder, "an adapter")
    config = json.loads((folders[-1] / CONFIG_FILE).read_text(encoding="utf-8"))
    tensors, kept = cut_to_rank(mean_differences(folders), rank or config["r"])
    config |= {
        "r": rank or config["r"],
        "lora_alpha": rank or config["r"],
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    with new_folder(out, is_adapter_folder, "an adapter") as partial:  # values that were fitted to an earlier one go with it
        save_file({name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}, partial / WEIGHTS_FILE)
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return kept


def copy_adapter(folder: Path, out: Path) -> None:
    """Copy an adapter without the training state beside it."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        shutil.copy(folder / name, out / name)
