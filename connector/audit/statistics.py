"""Is the difference real, how large is it, and what could have gone unseen? Paired over queries.

- p-values by randomisation: under the null hypothesis each query's difference could as well have the other sign (Fisher;
  Smucker, Allan, Carterette, CIKM 2007). One-sided: a gate asks whether it is worse, and a report also whether better.
- Several measures are tested, so p-values are adjusted by the step-down maximum of the same flips (Westfall, Young,
  1993): like Holm it keeps the family-wise error at the level, and as the measures move together it spends all of it,
  where Holm's bound would waste most. Holm's adjustment is reported beside it.
- Intervals by the paired bootstrap over queries, percentiles.
- The minimum detectable effect: the true drop that the verdict would have called with 80% power, on these queries.

Weights (`sample`) carry each query's share of the traffic: every mean here is a weighted one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
"""Family-wise chance of calling a drop where nothing changed."""
POWER = 0.8
ROUNDS = 9_999
_BATCH_CELLS = 4_000_000  # numbers held at a time, 32 MB
_SAME = 1e-12  # sums of the same numbers in another order differ in the last bits


@dataclass(frozen=True, slots=True)
class Paired:
    """One measure on both sides, over queries."""

    measure: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    """95% interval of the difference."""
    effect_size: float
    """Weighted mean difference over its standard deviation (Cohen's d_z); 0 where nothing differs."""
    p_worse: float
    p_better: float
    """Adjusted for the number of measures, one-sided."""
    holm_worse: float
    minimum_detectable: float
    wins: int
    losses: int
    ties: int


def compare(measures: Sequence[str], before: Floats, after: Floats, weights: Floats, *, seed: int) -> list[Paired]:
    """Compare (M, N) values of M measures on N queries, weighted by (N,) weights.

    A query whose values are nan on both sides counts as unchanged, and not for the means of the two sides.
    """
    differences = np.nan_to_num(after - before)
    total = weights.sum()
    weighted = differences * weights
    raw, worse = randomisation(-weighted, rounds=ROUNDS, seed=seed)
    better = randomisation(weighted, rounds=ROUNDS, seed=seed)[1]
    low, high = bootstrap(differences, weights, seed=seed)
    smallest = minimum_detectable(differences, weights, seed=seed)
    corrected = holm(raw)
    means = weighted.sum(axis=1) / total
    return [
        Paired(
            measure=name,
            before=_mean(before[m], weights),
            after=_mean(after[m], weights),
            difference=float(means[m]),
            low=float(low[m]),
            high=float(high[m]),
            effect_size=_effect_size(differences[m], weights),
            p_worse=float(worse[m]),
            p_better=float(better[m]),
            holm_worse=float(corrected[m]),
            minimum_detectable=float(smallest[m]),
            wins=int((differences[m] > 0).sum()),
            losses=int((differences[m] < 0).sum()),
            ties=int((differences[m] == 0).sum()),
        )
        for m, name in enumerate(measures)
    ]


def randomisation(weighted: Floats, *, rounds: int, seed: int) -> tuple[Floats, Floats]:
    """Return one-sided p-values, raw and adjusted, that the sums of (..., M, N) weighted differences are above zero.

    The statistic is the sum over its root of squares, which no flip changes. A p-value counts the observed case
    among the flips, (1 + exceeding) / (1 + rounds), so it is never 0 and the test is exact.
    """
    scale = np.sqrt((weighted**2).sum(axis=-1))
    unit = weighted / np.where(scale > 0, scale, 1.0)[..., None]
    observed = unit.sum(axis=-1)
    order = np.argsort(-observed, axis=-1, kind="stable")
    ranked = np.take_along_axis(observed, order, axis=-1)
    exceeded, exceeded_stepwise = np.zeros(observed.shape), np.zeros(observed.shape)
    for signs in _signs(weighted.shape[-1], rounds, seed, unit.size // weighted.shape[-1] if weighted.shape[-1] else 1):
        flipped = np.tensordot(signs, unit, axes=(1, -1))
        exceeded += (flipped >= observed - _SAME).sum(axis=0)
        flipped = np.take_along_axis(flipped, order[None], axis=-1)
        rest = np.maximum.accumulate(flipped[..., ::-1], axis=-1)[..., ::-1]
        exceeded_stepwise += (rest >= ranked - _SAME).sum(axis=0)
    stepwise = np.maximum.accumulate((1 + exceeded_stepwise) / (1 + rounds), axis=-1)
    adjusted = np.empty_like(stepwise)
    np.put_along_axis(adjusted, order, stepwise, axis=-1)
    return (1 + exceeded) / (1 + rounds), adjusted


def _signs(queries: int, rounds: int, seed: int, width: int) -> Iterator[Floats]:
    """Yield batches of -1 and 1, (b, queries), `rounds` rows in all."""
    random = np.random.default_rng(seed)
    size = max(1, _BATCH_CELLS // max(queries, width, 1))
    for start in range(0, rounds, size):
        yield random.choice(np.array([-1.0, 1.0]), (min(size, rounds - start), queries))


def holm(p_values: Floats) -> Floats:
    """Return Holm's step-down adjustment of (M,) p-values (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def bootstrap(differences: Floats, weights: Floats, *, seed: int, rounds: int = ROUNDS) -> tuple[Floats, Floats]:
    """Return the 95% interval of each weighted mean, (M,) and (M,), resampling queries."""
    random = np.random.default_rng(seed)
    queries = len(weights)
    columns = np.vstack([differences * weights, weights]).T
    size = max(1, _BATCH_CELLS // queries)
    means: list[Floats] = []
    for start in range(0, rounds, size):
        picks = random.integers(0, queries, (min(size, rounds - start), queries))
        counts = np.apply_along_axis(np.bincount, 1, picks, minlength=queries).astype(float)
        sums = counts @ columns
        means.append(sums[:, :-1] / np.where(sums[:, -1:] > 0, sums[:, -1:], 1.0))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    return low, high


def minimum_detectable(differences: Floats, weights: Floats, *, seed: int, rounds: int = ROUNDS) -> Floats:
    """Return, for each of M measures, the true drop that the adjusted test finds with 80% power at 5%; (M,), >= 0.

    The test calls a drop when its statistic passes c, the 95th percentile of the largest statistic under flips. A true drop
    of x standard errors moves the statistic to x / sqrt(1 + x²/n), as it also swells the root of squares, so 80% need
    x = c·sqrt(1 + x²/n) + z, with z = 0.84 and n the effective number of queries, (Σw)² / Σw². Infinite where
    n <= c², or where even flips that all fall one way are too likely: so few queries can never show it.
    """
    total = weights.sum()
    centred = (differences - (differences @ weights / total)[:, None]) * weights
    squares = np.sqrt((centred**2).sum(axis=1))
    varying = squares > 0
    if not varying.any():
        return np.zeros(len(differences))
    if 0.5 ** np.count_nonzero(weights) > LEVEL:
        return np.where(varying, np.inf, 0.0)
    unit = centred[varying] / squares[varying, None]
    largest = np.concatenate([(signs @ unit.T).max(axis=1) for signs in _signs(len(weights), rounds, seed, len(unit))])
    critical = float(np.quantile(largest, 1 - LEVEL, method="higher"))
    effects: Floats = np.zeros(len(differences))
    effects[varying] = squares[varying] / total * _standard_errors(critical, effective_queries(weights))
    return effects


def _standard_errors(critical: float, queries: float) -> float:
    """Solve x = critical·sqrt(1 + x²/queries) + z for x."""
    z = NormalDist().inv_cdf(POWER)
    a = 1 - critical**2 / queries
    return float("inf") if a <= 0 else (z + (z**2 - a * (z**2 - critical**2)) ** 0.5) / a


def effective_queries(weights: Floats) -> float:
    """Return Kish's effective sample size: the equally weighted queries that would say as much."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _mean(values: Floats, weights: Floats) -> float:
    known = ~np.isnan(values)
    return float(values[known] @ weights[known] / weights[known].sum()) if known.any() else float("nan")


def _effect_size(differences: Floats, weights: Floats) -> float:
    mean = float(differences @ weights / weights.sum())
    spread = float(((differences - mean) ** 2) @ weights / weights.sum()) ** 0.5
    return mean / spread if spread > _SAME else 0.0
