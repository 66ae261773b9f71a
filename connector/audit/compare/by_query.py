"""Compare the two sides query by query, from the answers on disk and the judgments; ``tally`` aggregates the results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

from connector.audit.compare import bounds, measures
from connector.audit.compare.bounds import Bounds
from connector.audit.folder import Folder
from connector.audit.sample import Query
from connector.audit.spec import Spec
from slimrank.types import Json

_FUNCTIONS = {"nDCG": measures.ndcg, "RR": measures.reciprocal_rank, "AP": measures.average_precision, "P": measures.precision}


@dataclass(frozen=True, slots=True)
class Row:
    """The comparison of one query. Rankings are cut at k."""

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
    """Judged measure -> before, after; empty if no document of the query is judged."""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    """``nDCG before``, ``nDCG after``, ``nDCG difference``, and so on."""
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
        """Whether the query had no hits before and has hits now."""
        return self.total_before == 0 and self.total_after > 0

    @property
    def failed(self) -> bool:
        """Whether only the new side refuses the query."""
        return self.error_after is not None and self.error_before is None

    @property
    def broken(self) -> bool:
        """Whether a golden query got worse: it is refused, empty, has a lower nDCG, or has no judgments and another first hit."""
        if not self.query.golden:
            return False
        if self.failed or self.newly_empty:
            return True
        if "nDCG" in self.values:
            return self.values["nDCG"][1] < self.values["nDCG"][0] - 1e-9
        return list(self.before[:1]) != list(self.after[:1])


def compare_queries(folder: Folder, judged: Callable[[str], Mapping[str, int]] = lambda query_id: {}) -> Iterator[Row]:
    """Yield the comparison of every query, ordered by query id; ``judged`` returns a query's grades by business id."""
    spec = folder.spec
    for query, answer in zip(folder.queries(), folder.answers(), strict=True):
        yield compare_query(query, answer["before"], answer["after"], judged(query.query_id), spec)


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
        tau=measures.tau_of_shared(a, b),
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
