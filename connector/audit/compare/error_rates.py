"""Measure how far to trust the verdict: its false alarms and its power, on an audit's stored differences.

False alarms: flip the signs of each query's differences at random (all measures of a query together), so that nothing is truly
worse. Count how often the adjusted test reports a drop of any measure. 5% is right; a lower share wastes power.
Power: centre the differences, flip them, subtract the minimum detectable effect, and count the reported drops; 80% is promised.
Both use the same function as the verdict, ``significance.randomisation``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connector.audit.compare.significance import LEVEL, ROUNDS, Blocks, add_up, centred, flip, minimum_detectable, randomisation
from connector.audit.spill import Floats
from slimrank.errors import DataError

_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """The results as shares of the simulated audits."""

    trials: int
    false_alarms: float
    power: tuple[float, ...]
    """The power for each measure, at its minimum detectable effect."""


def error_rates(blocks: Blocks, *, trials: int, seed: int, rounds: int = 1_999) -> ErrorRates:
    """Simulate ``trials`` audits of the differences of M measures on N queries.

    Raises:
        DataError: there are too few queries to detect any drop, so there is no drop to simulate.
    """
    totals = add_up(blocks)
    scales = np.where(totals.centred_scales > 0, totals.centred_scales, 1.0)[:, None]
    flipped = flip(lambda: (centred(block, totals) / scales for block in blocks()), rounds=ROUNDS, seed=seed)
    effects = minimum_detectable(totals, flipped)
    if not np.isfinite(effects).all():
        queries = sum(len(block.weights) for block in blocks())
        raise DataError(f"{queries} judged queries were found, too few to detect a drop of any size; audit more queries")
    alarms = 0
    calls: npt.NDArray[np.int64] = np.zeros(len(effects), dtype=np.int64)
    for start in range(0, trials, _AT_A_TIME):
        size = min(_AT_A_TIME, trials - start)

        def unchanged(start: int = start, size: int = size) -> Iterator[Floats]:
            """Yield (size, M, n): differences of audits in which nothing is truly worse."""
            for place, block in enumerate(blocks()):
                yield _signs([seed, start, place], size, len(block.weights)) * (block.differences * block.weights)

        def dropped(start: int = start, size: int = size) -> Iterator[Floats]:
            """Yield (size, M, n): differences of audits in which each measure truly fell by its effect."""
            for place, block in enumerate(blocks()):
                signs = _signs([seed, start, place], size, len(block.weights))
                yield effects[:, None] * block.weights - signs * centred(block, totals)

        alarms += int((randomisation(unchanged, rounds=rounds, seed=seed + start)[1] <= LEVEL).any(axis=1).sum())
        calls += (randomisation(dropped, rounds=rounds, seed=seed + start)[1] <= LEVEL).sum(axis=0)
    return ErrorRates(trials, alarms / trials, tuple(float(share) for share in calls / trials))


def _signs(seed: list[int], trials: int, queries: int) -> Floats:
    """Return -1 or 1 for each trial and query, (trials, 1, queries); a seed always gives the same signs."""
    random = np.random.default_rng(seed)
    signs: Floats = random.choice(np.array([-1.0, 1.0]), (trials, 1, queries))
    return signs
