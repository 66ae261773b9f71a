"""Contextual calibration (https://arxiv.org/abs/2102.09690): the constant that an untrained model's margin leans by.

SmolLM2-135M answers "1" with a probability of .98 whatever it reads. Such a policy draws one digit
only, and learns nothing from rewards. Its mean margin over balanced couples is measured once and
taken from the two digits' logits wherever stage 1 looks at the policy. It is the same for every document, so it
changes no ranking; the model that is left is used without it, and its scores are calibrated after training.
"""

import json
from pathlib import Path

from torch import Tensor

from slimrank.files import replace_text

FILE = "calibration.json"


def calibrated(logits: Tensor, margin: float, *, relevant_id: int, irrelevant_id: int) -> Tensor:
    """Return logits (B, V) whose margin, "1" less "0", is smaller by ``margin``; half is taken from each digit."""
    shift = logits.new_zeros(logits.shape[-1])
    shift[relevant_id], shift[irrelevant_id] = -margin / 2, margin / 2
    return logits + shift


def keep_margin(output: Path, margin: float) -> None:
    """Keep the margin beside the checkpoints: a resumed run's model is no longer the untrained one."""
    output.mkdir(parents=True, exist_ok=True)
    with replace_text(output / FILE) as file:
        json.dump({"margin": margin}, file)


def kept_margin(output: Path) -> float | None:
    """Return the margin that was kept, or None."""
    path = output / FILE
    return float(json.loads(path.read_text(encoding="utf-8"))["margin"]) if path.is_file() else None
