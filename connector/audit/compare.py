"""Compare the two sides query by query, from the answers on disk and the judgments; aggregate over the traffic.

Which queries the judged measures are over: those with judgments, and, where every changed query has judgments, the unchanged
ones too, whose difference is 0 whatever the grades. Their own level stays unknown and is left out of the means of each side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan

import numpy as np
import numpy.typing as npt

from connector.audit import bounds, measures
from connector.audit.bounds import Bounds
from connector.audit.folder import Folder
from connector.audit.sample import Query
from connector.audit.spec import Json, Spec
from slimrank.types import Qrels

Floats = npt.NDArray[np.float64]
JUDGED = ("nDCG", "RR", "AP", "P")
_FUNCTIONS = {"nDCG": measures.ndcg, "RR": measures.reciprocal_rank, "AP": measures.average_precision, "P": measures.precision}


@dataclass(frozen=True, slots=True)
class Row:
    """One query, compared. Rankings are cut at k."""

    query: Query
    before: Sequence[str]
    after: Sequence[str]
    total_before: int
    total_after: int
    overlap: float
    jaccard: float
    rbo: float
    tau: float
    distance: float
    error_before: str | None
    error_after: str | None
    open_tie: bool
    duplicates: int
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Judged measure -> before, after; empty where nothing of the query is judged."""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    """`nDCG before`, `nDCG after`, `nDCG difference`, and so on."""
    coverage: tuple[float, float] = (nan, nan)

    @property
    def changed(self) -> bool:
        """Whether the top k differs in any way."""
        return list(self.before) != list(self.after)

    @property
    def newly_empty(self) -> bool:
        """Whether the query lost all its hits."""
        return self.total_before > 0 and self.total_after == 0

    @property
    def newly_found(self) -> bool:
        """Whether the query had no hits, and has some now."""
        return self.total_before == 0 and self.total_after > 0

    @property
    def failed(self) -> bool:
        """Whether only the new side refuses the query."""
        return self.error_after is not None and self.error_before is None

    @property
    def broken(self) -> bool:
        """Whether a golden query got worse: refused, empty, a lower nDCG, or, unjudged, another first hit."""
        if not self.query.golden:
            return False
        if self.failed or self.newly_empty:
            return True
        if "nDCG" in self.values:
            return self.values["nDCG"][1] < self.values["nDCG"][0] - 1e-9
        return list(self.before[:1]) != list(self.after[:1])


def compare_queries(folder: Folder, qrels: Qrels) -> Iterator[Row]:
    """Yield every query compared, by query id; `qrels` are by query id and business id."""
    spec = folder.spec
    for query, answer in zip(folder.queries(), folder.answers(), strict=True):
        yield compare_query(query, answer["before"], answer["after"], qrels.get(query.query_id, {}), spec)


def compare_query(query: Query, before: Json, after: Json, judged: Mapping[str, int], spec: Spec) -> Row:
    """Compare one query."""
    k, p = spec.k, spec.persistence
    a, b = before["ids"][:k], after["ids"][:k]
    values: dict[str, tuple[float, float]] = {}
    limits: dict[str, Bounds] = {}
    if judged:
        values = {name: (function(a, judged, k), function(b, judged, k)) for name, function in _FUNCTIONS.items()}
        limits = _limits(a, b, judged, spec)
    return Row(
        query=query,
        before=a,
        after=b,
        total_before=before["total"],
        total_after=after["total"],
        overlap=measures.overlap(a, b, k),
        jaccard=measures.jaccard(a, b, k),
        rbo=measures.rbo(a, b, p),
        tau=measures.kendall_tau(a, b),
        distance=measures.rank_biased_distance(a, b, p),
        error_before=before.get("error"),
        error_after=after.get("error"),
        open_tie=bool(before.get("open_tie") or after.get("open_tie")),
        duplicates=before.get("duplicates", 0) + after.get("duplicates", 0),
        values=values,
        bounds=limits,
        coverage=(measures.coverage(a, judged, k), measures.coverage(b, judged, k)) if judged else (nan, nan),
    )


def _limits(a: Sequence[str], b: Sequence[str], judged: Mapping[str, int], spec: Spec) -> dict[str, Bounds]:
    sides = ("before", "after", "difference")
    found = {
        f"nDCG {side}": bound for side, bound in zip(sides, bounds.ndcg_bounds(a, b, judged, spec.k, spec.max_grade), strict=True)
    }
    for name, function in (
        ("RR", bounds.reciprocal_rank_bounds), ("AP", bounds.average_precision_bounds), ("P", bounds.precision_bounds),
    ):  # fmt: skip
        first, second = function(a, judged, spec.k), function(b, judged, spec.k)
        found |= {f"{name} before": first, f"{name} after": second}
        found[f"{name} difference"] = (
            Bounds(0.0, 0.0) if list(a) == list(b) else Bounds(second.low - first.high, second.high - first.low)
        )
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """The judged measures of the queries that they are over, ready for the statistics."""

    rows: Sequence[Row]
    measures: Sequence[str]
    before: Floats
    after: Floats
    weights: Floats
    """(M, N), (M, N) and (N,); nan on both sides where a query is unchanged and unjudged."""
    unjudged_changed: int
    """Changed queries without any judgment: the judged measures cannot speak for them."""


def judged_of(rows: Sequence[Row]) -> Judged:
    """Gather the judged measures of all rows that count for the traffic."""
    unjudged_changed = sum(row.changed and not row.values for row in rows)
    any_judged = any(row.values for row in rows)
    kept = [
        row for row in rows if row.query.weight > 0 and any_judged and (row.values or (not unjudged_changed and not row.changed))
    ]
    before = np.array([[row.values.get(name, (nan, nan))[0] for row in kept] for name in JUDGED]).reshape(len(JUDGED), len(kept))
    after = np.array([[row.values.get(name, (nan, nan))[1] for row in kept] for name in JUDGED]).reshape(len(JUDGED), len(kept))
    return Judged(kept, JUDGED, before, after, np.array([row.query.weight for row in kept]), unjudged_changed)


def weighted_mean(rows: Sequence[Row], values: Sequence[float]) -> float:
    """Return the mean over the traffic of one value a row; nan values are left out; nan where none is left."""
    pairs = [(row.query.weight, value) for row, value in zip(rows, values, strict=True) if not isnan(value)]
    total = sum(weight for weight, _ in pairs)
    return sum(weight * value for weight, value in pairs) / total if total else nan
