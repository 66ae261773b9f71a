"""How far two orders of the same things agree: Kendall's tau-b, for scores and for rankings."""

from collections.abc import Sequence

import numpy as np

from slimrank.types import Scores


def kendall_tau(first: Sequence[float] | Scores, second: Sequence[float] | Scores) -> float:
    """Return Kendall's tau-b of two lists of scores of the same things; 1.0 if all scores of a list are equal.

    Without ties this is (concordant - discordant) / (n·(n-1)/2), Kendall's tau.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    upper = np.triu_indices(len(one), 1)
    signs_one = np.sign(one[:, None] - one)[upper]
    signs_two = np.sign(two[:, None] - two)[upper]
    untied = np.sqrt(np.abs(signs_one).sum() * np.abs(signs_two).sum())
    return float((signs_one * signs_two).sum() / untied) if untied else 1.0
