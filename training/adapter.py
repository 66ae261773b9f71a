"""From checkpoints of a run to the adapter that is shipped: average, cut to a rank, write.

What is averaged is what the adapters add to the weights, ``scale * B @ A``, never A and B apart:
their product is not linear. The mean of several has a higher rank, so it is cut back by a singular
value decomposition (Eckart-Young: the nearest matrix of that rank), which must be evaluated after
the cut. Merging into a base model is done where a model folder is made, not here.
"""

import json
import re
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


Sides = tuple[Tensor, Tensor]
"""What a LoRA adapter adds to a weight, as two factors: shapes (out, rank) and (rank, in), float32; their product is added."""


def differences(folder: Path) -> dict[str, Tensor]:
    """Return what an adapter adds to each module's weight, shape (out, in), float32.

    Raises:
        ConfigError: the folder holds no LoRA adapter.
    """
    return {module: up @ down for module, (up, down) in sides_of(folder).items()}


def sides_of(folder: Path) -> dict[str, Sides]:
    """Return the two factors of what an adapter adds to each module's weight.

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
    return {module: (scale * side["B"], side["A"]) for module, side in sides.items()}


def mean_sides(folders: Sequence[Path]) -> dict[str, Sides]:
    """Return the mean over adapters of the same modules, its rank the sum of theirs."""
    every = [sides_of(folder) for folder in folders]
    if any(one.keys() != every[0].keys() for one in every):
        raise ConfigError("the adapters do not belong together: they change different modules; average checkpoints of one run")
    return {
        module: (torch.cat([one[module][0] for one in every], dim=1) / len(every), torch.cat([one[module][1] for one in every]))
        for module in every[0]
    }


def cut_to_rank(wanted: Mapping[str, Sides], rank: int) -> tuple[dict[str, Tensor], float]:
    """Return LoRA tensors of ``rank`` and scale 1 nearest to ``wanted``, and the share of its squared norm they keep.

    The singular values of a product are those of the small matrix between the orthogonal bases of its two sides, so no matrix of
    a weight's size is decomposed.
    """
    tensors: dict[str, Tensor] = {}
    kept = total = 0.0
    for module, (up, down) in wanted.items():
        up_basis, up_rest = torch.linalg.qr(up)
        down_basis, down_rest = torch.linalg.qr(down.T)
        left, values, right = torch.linalg.svd(up_rest @ down_rest.T, full_matrices=False)
        root = values[:rank].sqrt()
        lower, upper = root[:, None] * (right[:rank] @ down_basis.T), (up_basis @ left[:, :rank]) * root
        missing = rank - len(root)
        tensors[f"{module}.lora_A.weight"] = torch.nn.functional.pad(lower, (0, 0, 0, max(0, missing)))
        tensors[f"{module}.lora_B.weight"] = torch.nn.functional.pad(upper, (0, max(0, missing)))
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
    tensors, kept = cut_to_rank(mean_sides(folders), rank or config["r"])
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
