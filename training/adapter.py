"""From the checkpoints of a run to one adapter: average, reduce the rank, write.

The average is taken of what the adapters add to the weights, ``scale * B @ A``, and not of A and B separately:
their product is not linear. The mean of several adapters has a higher rank, so it is reduced by a singular
value decomposition (Eckart-Young: the nearest matrix of that rank). Evaluate the adapter after this step.
Export merges the adapter into a base model; this module does not.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slimrank import adapters
from slimrank.adapters import CONFIG_FILE, LAYERS_KEY, VALUES_FILE, WEIGHTS_FILE, layers_of, record
from slimrank.errors import ConfigError
from slimrank.folders import check_replaceable, new_folder, only

is_adapter_folder = only(WEIGHTS_FILE, CONFIG_FILE, VALUES_FILE)


Sides = tuple[Tensor, Tensor]
"""Two factors, shapes (out, rank) and (rank, in), float32; a LoRA adapter adds their product to a weight."""


def differences(folder: Path) -> dict[str, Tensor]:
    """Return what an adapter adds to each module's weight, shape (out, in), float32.

    Raises:
        ConfigError: the folder holds no LoRA adapter.
    """
    return {module: up @ down for module, (up, down) in sides_of(folder).items()}


def sides_of(folder: Path) -> dict[str, Sides]:
    """Return for each module the two factors whose product an adapter adds to its weight.

    Raises:
        ConfigError: the folder holds no LoRA adapter.
    """
    try:
        scale = adapters.scale_of(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        sides, _ = adapters.sides_of(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, SafetensorError) as error:
        raise ConfigError(f"{folder} holds no LoRA adapter: {error}") from error
    return {module: (scale * side["B"].float(), side["A"].float()) for module, side in sides.items()}


def mean_sides(folders: Sequence[Path]) -> dict[str, Sides]:
    """Return the mean of adapters of the same modules; its rank is the sum of their ranks."""
    every = [sides_of(folder) for folder in folders]
    if any(one.keys() != every[0].keys() for one in every):
        raise ConfigError("the adapters change different modules; average checkpoints of one run")
    return {
        module: (torch.cat([one[module][0] for one in every], dim=1) / len(every), torch.cat([one[module][1] for one in every]))
        for module in every[0]
    }


def cut_to_rank(wanted: Mapping[str, Sides], rank: int) -> tuple[dict[str, Tensor], float]:
    """Return the LoRA tensors of ``rank`` and scale 1 nearest to ``wanted``, and the share of its squared norm that they keep.

    With an orthogonal basis for each side, only the small matrix between the bases is decomposed: it has the same singular
    values as the product.
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
    """Write the average of adapters as one bfloat16 adapter; return the share of the average that the rank keeps.

    Args:
        rank: The rank of the new adapter; default that of the last folder.

    Raises:
        ConfigError: a folder holds no adapter, the adapters differ in their modules or layers, or ``out`` holds something else.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise ConfigError(f"asked to write the average to {out}, which is one of the averaged adapters; name another folder")
    check_replaceable(out, is_adapter_folder, "an adapter")
    layers = _same_layers(folders)
    config = json.loads((folders[-1] / CONFIG_FILE).read_text(encoding="utf-8"))
    tensors, kept = cut_to_rank(mean_sides(folders), rank or config["r"])
    config |= {
        "r": rank or config["r"],
        "lora_alpha": rank or config["r"],
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    with new_folder(
        out, is_adapter_folder, "an adapter"
    ) as partial:  # values that were fitted to an earlier adapter are removed with it
        save_file({name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}, partial / WEIGHTS_FILE)
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if layers is not None:
            record(partial, {LAYERS_KEY: layers})
    return kept


def _same_layers(folders: Sequence[Path]) -> int | None:
    """Return how many layers of the base model all the adapters keep; None = all."""
    found = {folder: layers_of(folder) for folder in folders}
    if len(set(found.values())) > 1:
        each = ", ".join(f"{folder}: {'all' if layers is None else layers}" for folder, layers in found.items())
        raise ConfigError(f"the adapters keep different numbers of layers ({each}); average checkpoints of one run")
    return found[folders[0]]
