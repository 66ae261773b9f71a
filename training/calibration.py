"""Contextual calibration (https://arxiv.org/abs/2102.09690): remove the constant bias of an untrained model.

SmolLM2-135M answers "1" with a probability of .98 to every document. Such a policy draws only one digit,
and learns nothing from rewards. Its mean margin over balanced couples is measured once, and
subtracted from the logits of the two digits everywhere in stage 1. It is the same for every document, so it
changes no ranking. The trained model is used without it; its scores are calibrated after training.
"""

import json
from pathlib import Path

from torch import Tensor

from slimrank.files import replace_text

FILE = "calibration.json"


def calibrated(logits: Tensor, margin: float, *, relevant_id: int, irrelevant_id: int) -> Tensor:
    """Return logits (B, V) whose margin, "1" minus "0", is smaller by ``margin``; each digit changes by half of it."""
    shift = logits.new_zeros(logits.shape[-1])
    shift[relevant_id], shift[irrelevant_id] = -margin / 2, margin / 2
    return logits + shift


def keep_margin(output: Path, margin: float) -> None:
    """Store the margin with the checkpoints: a resumed run cannot measure it, since its model is no longer untrained."""
    output.mkdir(parents=True, exist_ok=True)
    with replace_text(output / FILE) as file:
        json.dump({"margin": margin}, file)


def kept_margin(output: Path) -> float | None:
    """Return the stored margin, or None."""
    path = output / FILE
    return float(json.loads(path.read_text(encoding="utf-8"))["margin"]) if path.is_file() else None
