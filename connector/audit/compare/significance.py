"""Test whether the differences are significant, how large they are, and what could be missed. Paired over queries.

- The p-values come from a randomisation test: under the null hypothesis each query's difference could have either sign (Fisher;
Smucker, Allan, Carterette, CIKM 2007). The test is one-sided: a gate asks whether the new side is worse; a report also asks
whether it is better.
- Several measures are tested, so p-values are adjusted by the step-down maximum of the same flips (Westfall, Young, 1993). Like
Holm's adjustment it limits the family-wise error. The measures are correlated, so it finds more than Holm's adjustment, which is
reported beside it.
- The intervals come from the paired bootstrap over queries, by percentiles.
- The minimum detectable effect is the true drop that the verdict would detect on these queries with 80% power.

The weight of a query (``sample``) is its share of the traffic; all means are weighted. Queries are read in blocks, several times,
so memory does not grow with their number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from connector.audit.spill import BLOCK, Floats

LEVEL = 0.05
"""The family-wise probability of reporting a drop although nothing changed."""
POWER = 0.8
ROUNDS = 9_999
_BATCH_CELLS = 500_000  # numbers in memory at a time, 4 MB
_SAME = 1e-12  # sums of the same numbers in different orders differ in the last bits


@dataclass(frozen=True, slots=True)
class Paired:
    """One measure on both sides, averaged over queries."""

    measure: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    """``low`` and ``high`` are the 95% interval of the difference."""
    effect_size: float
    """Weighted mean difference divided by its standard deviation (Cohen's d_z); 0 if nothing differs."""
    p_worse: float
    p_better: float
    """``p_worse`` and ``p_better`` are one-sided, and adjusted for the number of measures."""
    holm_worse: float
    minimum_detectable: float
    wins: int
    losses: int
    ties: int


class Block(NamedTuple):
    """A block of n queries: (M, n) values of M measures before and after, and (n,) weights."""

    before: Floats
    after: Floats
    weights: Floats

    @property
    def differences(self) -> Floats:
        """The differences, (M, n); 0 if a query's values are unknown on both sides."""
        found: Floats = np.nan_to_num(self.after - self.before)
        return found


Blocks = Callable[[], Iterable[Block]]
"""A function that yields all queries in blocks, the same blocks at every call; only one block is in memory at a time."""


def in_blocks(before: Floats, after: Floats, weights: Floats) -> Blocks:
    """Return (M, N) values in memory as blocks."""
    starts = range(0, len(weights), BLOCK)
    cuts = [slice(start, start + BLOCK) for start in starts]
    return lambda: (Block(before[:, cut], after[:, cut], weights[cut]) for cut in cuts)


def compare(measures: Sequence[str], blocks: Blocks, *, seed: int) -> list[Paired]:
    """Compare M measures on N queries.

    A query whose values are nan on both sides counts as unchanged, and is left out of the means of both sides.
    """
    totals = add_up(blocks)
    flipped = flip(lambda: _units(blocks, totals), rounds=ROUNDS, seed=seed)
    plain, centred = flipped[:, : len(measures)], flipped[:, len(measures) :]
    observed = totals.sums / _not_zero(totals.scales)
    raw, worse = p_values(-observed, -plain)
    better = p_values(observed, plain)[1]
    low, high = bootstrap(blocks, totals, seed=seed)
    smallest = minimum_detectable(totals, centred)
    corrected = holm(raw)
    return [
        Paired(
            measure=name,
            before=float(totals.sides[0, m]),
            after=float(totals.sides[1, m]),
            difference=float(totals.means[m]),
            low=float(low[m]),
            high=float(high[m]),
            effect_size=float(totals.means[m] / totals.spreads[m]) if totals.spreads[m] > _SAME else 0.0,
            p_worse=float(worse[m]),
            p_better=float(better[m]),
            holm_worse=float(corrected[m]),
            minimum_detectable=float(smallest[m]),
            wins=int(totals.wins[m]),
            losses=int(totals.losses[m]),
            ties=totals.queries - int(totals.wins[m]) - int(totals.losses[m]),
        )
        for m, name in enumerate(measures)
    ]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all queries; the arrays have one entry for each of M measures."""

    queries: int
    weight: float
    counted: int
    """The number of queries with a weight above 0."""
    effective: float
    sides: Floats
    """The means before and after, over queries with known values, (2, M)."""
    sums: Floats
    """The sums of the weighted differences."""
    scales: Floats
    """The roots of the sums of squares, of the weighted and of the centred differences."""
    centred_scales: Floats
    spreads: Floats
    """The weighted standard deviations of the differences."""
    wins: Floats
    losses: Floats

    @property
    def means(self) -> Floats:
        """The weighted mean differences."""
        found: Floats = self.sums / self.weight
        return found


def add_up(blocks: Blocks) -> Totals:
    """Add up the sums in two passes; the second pass uses the means of the first."""
    queries = counted = 0
    weight = squared_weights = 0.0
    nothing: Floats = np.zeros(1)
    sums = scales = wins = losses = nothing
    known = sides = np.zeros((2, 1))
    for block in blocks():
        differences, weights = block.differences, block.weights
        queries, counted = queries + len(weights), counted + int(np.count_nonzero(weights))
        weight, squared_weights = weight + float(weights.sum()), squared_weights + float((weights**2).sum())
        sums = sums + differences @ weights
        scales = scales + ((differences * weights) ** 2).sum(axis=1)
        wins, losses = wins + (differences > 0).sum(axis=1), losses + (differences < 0).sum(axis=1)
        values = np.stack([block.before, block.after])
        known = known + ~np.isnan(values) @ weights
        sides = sides + np.nan_to_num(values) @ weights
    centred_scales = spreads = nothing
    for block in blocks():
        centred = block.differences - (sums / weight)[:, None]
        centred_scales = centred_scales + ((centred * block.weights) ** 2).sum(axis=1)
        spreads = spreads + (centred**2) @ block.weights
    means = np.divide(sides, known, out=np.full_like(sides, np.nan), where=known > 0)
    return Totals(
        queries, weight, counted, weight**2 / squared_weights, means, sums, np.sqrt(scales), np.sqrt(centred_scales),
        np.sqrt(spreads / weight), wins, losses,
    )  # fmt: skip


def _not_zero(scales: Floats) -> Floats:
    return np.where(scales > 0, scales, 1.0)


def _units(blocks: Blocks, totals: Totals) -> Iterator[Floats]:
    """Yield (2M, n): the weighted, then the centred differences, scaled so that the squares of each row sum to 1 over all
    blocks."""
    for block in blocks():
        plain = block.differences * block.weights / _not_zero(totals.scales)[:, None]
        yield np.vstack([plain, centred(block, totals) / _not_zero(totals.centred_scales)[:, None]])


def centred(block: Block, totals: Totals) -> Floats:
    """Return the (M, n) weighted differences of a block around their mean over all blocks."""
    found: Floats = (block.differences - totals.means[:, None]) * block.weights
    return found


def flip(units: Callable[[], Iterable[Floats]], *, rounds: int, seed: int) -> Floats:
    """Return the sums, (rounds, ..., M), of (..., M, n) blocks; in each round the signs of the queries are flipped at random."""
    random = np.random.default_rng(seed)
    sums: Floats | None = None
    for block in units():
        if sums is None:
            sums = np.zeros((rounds, *block.shape[:-1]))
        step = max(1, _BATCH_CELLS // max(block.shape[-1], block[..., 0].size))
        for start in range(0, rounds, step):
            part = sums[start : start + step]
            signs = random.integers(0, 2, (len(part), block.shape[-1]), dtype=np.int8) * 2.0 - 1.0
            part += np.tensordot(signs, block, axes=(1, -1))
    if sums is None:
        raise ValueError("there is no query to flip")
    return sums


def randomisation(weighted: Callable[[], Iterable[Floats]], *, rounds: int, seed: int) -> tuple[Floats, Floats]:
    """Return raw and adjusted one-sided p-values for sums of all (..., M, n) weighted differences above zero."""
    sums: Floats | float = 0.0
    squares: Floats | float = 0.0
    for block in weighted():
        sums, squares = sums + block.sum(axis=-1), squares + (block**2).sum(axis=-1)
    scales = _not_zero(np.sqrt(squares))
    flipped = flip(lambda: (block / scales[..., None] for block in weighted()), rounds=rounds, seed=seed)
    return p_values(sums / scales, flipped)


def p_values(observed: Floats, flipped: Floats) -> tuple[Floats, Floats]:
    """Return raw and adjusted p-values of (..., M) observed statistics against (rounds, ..., M) statistics under flips.

    The statistic is the sum divided by the root of the sum of squares, which a flip does not change. The observed case counts as
    one of the flips, (1 + exceeding) / (1 + rounds), so the p-value is never 0 and the test is exact.
    """
    rounds = len(flipped)
    order = np.argsort(-observed, axis=-1, kind="stable")
    ranked = np.take_along_axis(observed, order, axis=-1)
    exceeded = (flipped >= observed - _SAME).sum(axis=0)
    rest = np.maximum.accumulate(np.take_along_axis(flipped, order[None], axis=-1)[..., ::-1], axis=-1)[..., ::-1]
    exceeded_stepwise = (rest >= ranked - _SAME).sum(axis=0)
    stepwise = np.maximum.accumulate((1 + exceeded_stepwise) / (1 + rounds), axis=-1)
    adjusted = np.empty_like(stepwise)
    np.put_along_axis(adjusted, order, stepwise, axis=-1)
    return (1 + exceeded) / (1 + rounds), adjusted


def holm(p_values: Floats) -> Floats:
    """Return Holm's step-down adjustment of (M,) p-values (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def bootstrap(blocks: Blocks, totals: Totals, *, seed: int, rounds: int = ROUNDS) -> tuple[Floats, Floats]:
    """Return the limits of the 95% interval of each weighted mean, (M,) and (M,), by resampling queries.

    ``slimrank.evaluation.evaluate`` has a bootstrap of its own: there all queries weigh the same and are in memory, sets of queries are
    averaged, and its seeded draws are in published figures. Here queries have weights and come in blocks.

    First the number of a round's picks in each block is drawn (binomial for each block, so multinomial over all blocks), then the
    queries within the block.
    """
    random = np.random.default_rng(seed)
    left, rest = np.full(rounds, totals.queries), totals.queries
    sums = np.zeros((rounds, len(totals.sums) + 1))
    for block in blocks():
        size = len(block.weights)
        picked = random.binomial(left, size / rest)
        left, rest = left - picked, rest - size
        columns = np.vstack([block.differences * block.weights, block.weights]).T
        step = max(1, _BATCH_CELLS // size)
        for start in range(0, rounds, step):
            counts = _pick(random, picked[start : start + step], size)
            sums[start : start + step] += counts @ columns
    low, high = np.percentile(sums[:, :-1] / _not_zero(sums[:, -1:]), [2.5, 97.5], axis=0)
    return low, high


def _pick(random: np.random.Generator, picked: npt.NDArray[np.int64], size: int) -> Floats:
    """Return how often each of ``size`` queries is picked if each round has ``picked`` picks, (rounds, size)."""
    rounds = np.repeat(np.arange(len(picked)) * size, picked)
    places = random.integers(0, size, len(rounds))
    counts: Floats = np.bincount(rounds + places, minlength=len(picked) * size).reshape(-1, size).astype(float)
    return counts


def minimum_detectable(totals: Totals, flipped: Floats) -> Floats:
    """Return, for each of M measures, the true drop that the adjusted test finds with 80% power at 5%; (M,), >= 0.

    The test reports a drop if its statistic exceeds c, the 95th percentile of the largest statistic under flips. A true drop of
    x standard errors moves the statistic to x / sqrt(1 + x²/n), because the drop also increases the root of the sum of squares.
    So 80% power needs x = c·sqrt(1 + x²/n) + z, with z = 0.84 and the effective number of queries n = (Σw)² / Σw². The result is
    infinite if n <= c², or if flips that all have the same sign are already too likely: then there are too few queries.

    Args:
        flipped: (rounds, M) statistics of the centred differences under flips.
    """
    varying = totals.centred_scales > 0
    if not varying.any():
        return np.zeros(len(varying))
    if 0.5**totals.counted > LEVEL:
        return np.where(varying, np.inf, 0.0)
    critical = float(np.quantile(flipped[:, varying].max(axis=1), 1 - LEVEL, method="higher"))
    errors: Floats = np.where(varying, totals.centred_scales / totals.weight, 0.0)
    errors[varying] *= _standard_errors(critical, totals.effective)
    return errors


def _standard_errors(critical: float, queries: float) -> float:
    """Solve x = critical·sqrt(1 + x²/queries) + z for x."""
    z = NormalDist().inv_cdf(POWER)
    a = 1 - critical**2 / queries
    return float("inf") if a <= 0 else (z + (z**2 - a * (z**2 - critical**2)) ** 0.5) / a
