"""Make an audit's plan: draw the queries and estimate the cost. Reads from the engines, changes nothing."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from connector.audit.ask.access import Sides
from connector.audit.ask.search import Searcher
from connector.audit.folder import Folder
from connector.audit.sample import Query, count
from connector.audit.scrub import Scrub, scrubber
from connector.audit.sources import read_file, read_queries
from connector.audit.spec import Spec, parse_spec
from slimrank import __version__
from slimrank.errors import DataError

_PROBES = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """The estimated cost of the run."""

    queries: int
    searches: int
    pairs: int
    hours: float


def make_plan(spec: Spec, folder: Folder, sides: Sides, *, scrub: Scrub | None = None) -> None:
    """Draw the queries and write the plan.

    The same specification and the same source of queries give the same plan, byte for byte. An existing plan keeps its queries,
    even if the log has grown since, and adopts new judges and rules. If other settings change, a new plan replaces it, but only
    until the first query is asked.

    Args:
        scrub: A function that removes personal data, instead of the specification's patterns.

    Raises:
        DataError: the folder holds an audit with other settings, or no query is found.
        EngineError: a cluster does not answer, or lacks the index.
    """
    sides.require_indices()
    if folder.has("plan.json") and _keep_plan(spec, folder):
        return
    clean = scrub or scrubber(spec.sample.personal, spec.sample.patterns)
    source = read_queries(spec.queries, sides.before.cluster, spec.before.index, spec.sample.seed)
    golden = read_file(spec.queries.golden) if spec.queries.golden else iter(())
    with count(source, clean) as population:
        seen = _Seen()
        folder.write_queries(
            seen.pass_on(population.draw(golden, size=spec.sample.size, seed=spec.sample.seed, strata=spec.sample.strata))
        )
        plan = {
            "spec": spec.model_dump(mode="json"),
            "queries": seen.count,
            "population": population.size,
            "traffic": population.traffic,
            "dropped_as_personal": population.dropped,
            "queries_hash": seen.hash.hexdigest()[:16],
            "slimrank": __version__,
        }
    folder.write_plan(plan)


class _Seen:
    """Counts and hashes the queries that pass through."""

    def __init__(self) -> None:
        self.count, self.hash = 0, hashlib.sha256()

    def pass_on(self, queries: Iterator[Query]) -> Iterator[Query]:
        for query in queries:
            self.count += 1
            self.hash.update(repr(astuple(query)).encode())
            yield query


def _keep_plan(spec: Spec, folder: Folder) -> bool:
    """Tell whether the existing plan stays valid; if it does, adopt new judges and rules."""
    plan = folder.plan
    if parse_spec(plan["spec"], str(folder.path)).identity() == spec.identity():
        folder.write_plan({**plan, "spec": spec.model_dump(mode="json")})
        return True
    if folder.has_begun:
        raise DataError(f"{folder.path} holds an audit with other settings; name another folder, or remove it")
    folder.remove("plan.json")  # first, so that a plan never stands beside the queries of another plan
    return False


def estimate(spec: Spec, folder: Folder, sides: Sides) -> Cost:
    """Ask both sides a few queries, with the throttle of the run, and extrapolate the time to all queries."""
    queries, probes = int(folder.plan["queries"]), folder.chunk(0)[:_PROBES]
    pairs = sum(side.rerank.rank_window_size for side in (spec.before, spec.after) if side.rerank) * queries
    seconds = 0.0
    for _, reached in sides.items():
        searcher = Searcher(reached, spec)
        start = time.perf_counter()
        for query in probes:
            searcher.ask(query.query)
        each = (time.perf_counter() - start) / max(1, len(probes))
        share = each if reached.scorer else each / spec.threads
        seconds += max(share, 1 / spec.requests_per_second) * queries
    return Cost(queries, 2 * queries, pairs, seconds / 3600)
