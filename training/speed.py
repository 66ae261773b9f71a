"""Measure how fast stage 2 learns on this machine, compared with the usual way: ``slimrank train speed CONFIG``.

Three ways train on the same groups in turns: (1) whole pairs, with the prompt and the query in front of each document, as trainers
usually do; (2) the shared prefix once for each group; (3) the same with the adapter folded into the weights. The time of a way is
that of its forward and backward passes. The losses are compared too, since a quicker way must learn the same.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track
from tokenizers import Tokenizer
from torch import Tensor

from slimrank.errors import ConfigError, DataError
from slimrank.processor import conditions
from slimrank.prompt import SLIMRANK, PromptEncoder
from training.config import FinegrainedConfig
from training.data.groups import Group, read_groups
from training.finegrained import encode_group, group_loss
from training.model import GroupScorer, load_model, tokenizer_file

WHOLE, SHARED, FOLDED = "whole pairs", "shared prefix", "shared prefix, folded adapter"
MOST_APART = 1e-3
"""The losses of two ways may differ by this share, since their float32 sums have a different order."""

Way = Callable[[Sequence[int], Sequence[Sequence[int]]], Tensor]


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one way: pairs per second of wall time and of processor time."""

    way: str
    pairs_per_second: float
    pairs_per_processor_second: float
    times: float
    """Pairs per processor second, divided by those of the first way."""


def measure(config: FinegrainedConfig, *, groups: int) -> dict[str, Any]:
    """Return the speeds of the ways on ``groups`` groups, and the largest difference of their losses.

    Raises:
        ConfigError: the ways do not learn the same, or the configuration does not fit.
        DataError: no group has labels or teacher scores.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(config.model.base))))
    ways = _ways(config, encoder)
    usable = [group for group in read_groups(config.groups) if group.teacher or any(group.relevance)]
    if not usable:
        raise DataError(
            f"{config.groups} holds no group with labels or teacher scores; make groups with `slimrank train prepare`"
        )
    random.Random(config.seed).shuffle(usable)
    cuts = random.Random(config.seed)
    now, pairs, apart = conditions(), 0, 0.0
    wall, processor = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for number, group in enumerate(track([usable[0], *usable[:groups]], "groups")):
        cut = config.draw_cut(cuts)
        found = {name: _one(way, group, encoder, cut, config) for name, way in ways.items()}
        apart = max(apart, _apart([loss for loss, _, _ in found.values()]))
        if number:  # the first one warms up
            pairs += len(group.documents)
            for name, (_, seconds, used) in found.items():
                wall[name] += seconds
                processor[name] += used
    if apart > MOST_APART:
        raise ConfigError(f"the ways do not learn the same: losses differ by a share of {apart:.2g}, and {MOST_APART} is allowed")
    speeds = [Speed(name, pairs / wall[name], pairs / processor[name], processor[WHOLE] / processor[name]) for name in ways]
    return now | {"groups": len(usable[:groups]), "pairs": pairs, "losses_apart": apart, "ways": speeds}


def _apart(losses: Sequence[float]) -> float:
    """Return the largest difference of losses as a share of the first; infinite if a loss is not finite."""
    if not all(map(math.isfinite, losses)):
        return math.inf
    return (max(losses) - min(losses)) / max(abs(losses[0]), 1e-9)


def _ways(config: FinegrainedConfig, encoder: PromptEncoder) -> dict[str, Way]:
    ids = {"relevant_id": encoder.relevant_id, "irrelevant_id": encoder.irrelevant_id}
    plain = GroupScorer(load_model(config.model, folded=False), **ids).train()
    folded = GroupScorer(load_model(config.model), **ids).train()
    return {WHOLE: lambda prefix, bodies: plain.together([(prefix, bodies)])[0], SHARED: plain, FOLDED: folded}


def _one(way: Way, group: Group, encoder: PromptEncoder, cut: int, config: FinegrainedConfig) -> tuple[float, float, float]:
    """Return the loss of a group, and the wall time and the processor time of its passes in seconds."""
    prefix, bodies = encode_group(group, encoder, cut)
    wall, processor = time.perf_counter(), time.process_time()
    loss = group_loss(way(prefix, bodies), group, config.loss).loss
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), time.perf_counter() - wall, time.process_time() - processor
