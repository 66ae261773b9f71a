"""How far to trust the verdict: its false alarms and its power on an audit's own stored differences.

False alarms: flip each query's differences (all measures of a query together) at random, so that nothing is truly
worse, and count how often the adjusted test calls a drop of any measure; 5% is right, less wastes power.
Power: centre the differences, flip, subtract the stated minimum detectable effect, and count the calls; 80% is promised.
Both run the very function that the verdict runs, `statistics.randomisation`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connector.audit.statistics import LEVEL, minimum_detectable, randomisation

Floats = npt.NDArray[np.float64]
_AT_A_TIME = 250


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares of simulated audits."""

    trials: int
    false_alarms: float
    power: tuple[float, ...]
    """For each measure, at its minimum detectable effect."""


def calibrate(differences: Floats, weights: Floats, *, trials: int, seed: int, rounds: int = 1_999) -> Calibration:
    """Simulate `trials` audits from (M, N) differences of M measures on N queries."""
    random = np.random.default_rng(seed)
    effects = minimum_detectable(differences, weights, seed=seed)
    centred = differences - (differences @ weights / weights.sum())[:, None]
    alarms, calls = 0, np.zeros(len(differences))
    for start in range(0, trials, _AT_A_TIME):
        size = min(_AT_A_TIME, trials - start)
        signs = random.integers(0, 2, (size, 1, differences.shape[1])) * 2.0 - 1.0
        seed_here = int(random.integers(2**31))
        alarms += int((_adjusted(signs * differences * weights, rounds, seed_here) <= LEVEL).any(axis=1).sum())
        dropped = (signs * centred - effects[:, None]) * weights
        calls += (_adjusted(-dropped, rounds, seed_here) <= LEVEL).sum(axis=0)
    return Calibration(trials, alarms / trials, tuple(float(share) for share in calls / trials))


def _adjusted(weighted: Floats, rounds: int, seed: int) -> Floats:
    return randomisation(weighted, rounds=rounds, seed=seed)[1]
