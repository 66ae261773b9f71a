"""Aggregate all compared queries in one pass: counts, means over the traffic, strata, and the few queries to show.

Memory holds sums, two lists of at most 25 rows and two histograms, whatever the number of queries. The values of every query,
which the statistics need, are written to a temporary file.

The judged measures cover the queries with judgments. If every changed query has judgments, they also cover the unchanged queries,
whose difference is 0 whatever their grades are. The values of unchanged queries are unknown and left out of the means of each
side.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import ceil, copysign, isnan, nan
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from connector.audit.compare.by_query import Row
from connector.audit.compare.significance import Block
from connector.audit.spec import JUDGED
from connector.audit.spill import Numbers

SHOWN = 25
"""The number of worst and of best queries that the report shows with both lists."""
BINS = 20
_STEPS = 1000
"""The number of steps between 0 and 1 for counting changes of nDCG in the plot."""
UNJUDGED = ("overlap", "jaccard", "rbo", "tau", "distance")


class Means:
    """Weighted means of values that are added one at a time; nan values are left out."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, weight: float, value: float) -> None:
        """Add one value."""
        if not isnan(value):
            self._sums[name] += weight * value
            self._weights[name] += weight

    def of(self, name: str) -> float:
        """Return the mean; nan if no value with a weight was added."""
        weight = self._weights.get(name, 0.0)
        return self._sums[name] / weight if weight else nan


class Best:
    """Keeps the rows with the smallest keys."""

    def __init__(self, key: Callable[[Row], Any]) -> None:
        self._key = key
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Keep the row if its key is small enough."""
        self._rows.append(row)
        if len(self._rows) >= 4 * SHOWN:
            self._rows = self.rows

    @property
    def rows(self) -> list[Row]:
        """The kept rows, at most SHOWN, in order."""
        return sorted(self._rows, key=self._key)[:SHOWN]


class Tally:
    """The aggregate of all rows that were added."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.counts: Counter[str] = Counter()
        self.means = Means()
        self.strata: defaultdict[str, Means] = defaultdict(Means)
        self.sizes: Counter[str] = Counter()
        self.bound_names: list[str] = []
        self.weight = self.squared_weight = self.total_before = self.total_after = 0.0
        self.changed_weight = self.changed_judged_weight = 0.0
        self.golden: list[dict[str, Any]] = []
        self.worst = Best(severity)
        self.best = Best(lambda row: (row.values["nDCG"][0] - row.values["nDCG"][1], row.query.query_id))
        self.rbo_bins = [0] * BINS
        self.ndcg_changes: Counter[int] = Counter()

    def add(self, row: Row) -> None:
        """Add one query."""
        self._count(row)
        self._weigh(row)
        self._describe_strata(row)
        self._keep_extremes(row)
        if row.query.golden:
            self.golden.append({"query_id": row.query.query_id, "query": row.query.query, "broken": row.broken})
        if row.query.weight > 0 and (row.values or not row.changed):
            values = [row.values.get(name, (nan, nan))[side] for side in (0, 1) for name in JUDGED]
            self._numbers.add([*values, row.query.weight])

    def _count(self, row: Row) -> None:
        self.counts.update(
            asked=1,
            changed=row.changed,
            reordered_only=row.changed and set(row.before) == set(row.after),
            newly_empty=row.newly_empty,
            newly_found=row.newly_found,
            failed=row.failed,
            broken=row.broken,
            open_ties=row.open_tie,
            duplicates=row.duplicates,
            judged=bool(row.values),
            judged_of_weight=bool(row.values) and row.query.weight > 0,
            unjudged_changed=row.changed and not row.values,
        )
        self.rbo_bins[min(int(row.rbo * BINS), BINS - 1)] += 1

    def _weigh(self, row: Row) -> None:
        weight = row.query.weight
        self.weight += weight
        self.squared_weight += weight**2
        self.total_before += weight * row.total_before
        self.total_after += weight * row.total_after
        self.changed_weight += weight * row.changed
        self.changed_judged_weight += weight * (row.changed and bool(row.values))
        for name in UNJUDGED:
            self.means.add(name, weight, getattr(row, name))
        for name in ("changed", "newly_empty", "newly_found"):
            self.means.add(name, weight, float(getattr(row, name)))
        if row.bounds and weight > 0:
            self.bound_names = list(row.bounds)
            for name, bounds in row.bounds.items():
                self.means.add(f"{name} low", weight, bounds.low)
                self.means.add(f"{name} high", weight, bounds.high)
            for side, which in enumerate(("before", "after")):
                self.means.add(f"coverage {which}", weight, row.coverage[side])

    def _describe_strata(self, row: Row) -> None:
        """Add the row to its stratum, and a golden query also to the golden stratum, in which all queries have the same
        weight."""
        groups = [(row.query.stratum, row.query.weight)] if row.query.weight > 0 else []
        for group, weight in [*groups, *([("golden", 1.0)] if row.query.golden else [])]:
            means = self.strata[group]
            self.sizes[group] += 1
            means.add("share", 1.0, weight)
            for name in ("changed", "rbo", "overlap"):
                means.add(name, weight, float(getattr(row, name)))
            before, after = row.values.get("nDCG", (nan, nan))
            means.add("ndcg_before", weight, before)
            means.add("ndcg_after", weight, after)

    def _keep_extremes(self, row: Row) -> None:
        before, after = row.values.get("nDCG", (0.0, 0.0))
        if row.changed or row.failed:
            self.worst.add(row)
            if after > before:
                self.best.add(row)
        if row.values:
            difference = after - before
            # round away from 0, so that even a small change is drawn as a change
            self.ndcg_changes[int(copysign(ceil(abs(difference) * _STEPS - 1e-9), difference))] += 1

    @property
    def changes(self) -> dict[str, Any]:
        """The values for the plots: numbers of queries in equal bins of RBO, and [change of nDCG, number of queries]."""
        ndcg = [[step / _STEPS, count] for step, count in sorted(self.ndcg_changes.items())]
        return {"rbo": self.rbo_bins, "ndcg": ndcg}

    @property
    def has_judged(self) -> bool:
        """Whether any query of the traffic is judged."""
        return bool(self.counts["judged_of_weight"])

    def blocks(self) -> Iterator[Block]:
        """Yield the judged measures of the queries that they cover."""
        for rows in self._numbers.blocks():
            known = ~np.isnan(rows[:, 0])
            kept = rows[known] if self.counts["unjudged_changed"] else rows
            if len(kept):
                yield Block(kept[:, : len(JUDGED)].T, kept[:, len(JUDGED) : -1].T, kept[:, -1])


def severity(row: Row) -> tuple[float, float, str]:
    """Return the sort key for the worst queries: broken queries first, then by lost nDCG, then by the amount of change."""
    lost = row.values["nDCG"][0] - row.values["nDCG"][1] if row.values else 0.0
    return (-float(row.failed or row.newly_empty or row.broken), -lost, f"{row.rbo:.6f} {row.query.query_id}")


@contextmanager
def tallied(rows: Iterable[Row]) -> Iterator[Tally]:
    """Aggregate all rows; the temporary file is deleted at the end of the block."""
    with TemporaryFile() as file:
        tally = Tally(Numbers(file, 2 * len(JUDGED) + 1))
        for row in rows:
            tally.add(row)
        yield tally
