"""Make an audit's plan: which queries, on what, and what it will cost. Asks the engines, changes nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from connector.audit.access import Sides
from connector.audit.folder import Folder, digest
from connector.audit.sample import Query, count, draw
from connector.audit.scrub import Scrub, scrubber
from connector.audit.search import Searcher
from connector.audit.sources import read_file, read_queries
from connector.audit.spec import Spec, parse_spec
from slimrank import __version__
from slimrank.errors import DataError

_PROBES = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What the run will take."""

    queries: int
    searches: int
    pairs: int
    hours: float


def make_plan(spec: Spec, folder: Folder, sides: Sides, *, scrub: Scrub | None = None) -> list[Query]:
    """Draw the queries and write the plan; return them.

    The same specification and the same source of queries give the same plan, byte for byte. A plan that is there keeps
    its queries, even if the log has grown since, and takes over other judges and rules.

    Args:
        scrub: a function of one's own against personal data, in place of the specification's patterns.

    Raises:
        DataError: the folder holds an audit with other settings, or no query is found.
    """
    if folder.has("plan.json"):
        return _keep_plan(spec, folder)
    clean = scrub or scrubber(spec.sample.personal, spec.sample.patterns)
    population = count(read_queries(spec.queries, sides.before.cluster, spec.before.index, spec.sample.seed), clean)
    golden = list(read_file(spec.queries.golden)) if spec.queries.golden else []
    queries = draw(population, golden, size=spec.sample.size, seed=spec.sample.seed, strata=spec.sample.strata)
    wanted = {
        "spec": spec.model_dump(mode="json"),
        "queries": len(queries),
        "population": len(population.asked),
        "traffic": sum(asked.frequency for asked in population.asked.values()),
        "dropped_as_personal": population.dropped,
        "queries_hash": digest([[query.query_id, query.query, query.weight] for query in queries]),
        "slimrank": __version__,
    }
    folder.write_queries(queries)
    folder.write("plan.json", wanted)
    return queries


def _keep_plan(spec: Spec, folder: Folder) -> list[Query]:
    """Return the queries of the plan that is there, and take over other judges and rules."""
    plan = folder.read("plan.json")
    if parse_spec(plan["spec"], str(folder.path)).identity() != spec.identity():
        raise DataError(f"{folder.path} holds an audit with other settings; name another folder, or remove it")
    folder.write("plan.json", {**plan, "spec": spec.model_dump(mode="json")})
    return list(folder.queries())


def estimate(spec: Spec, queries: Sequence[Query], sides: Sides) -> Cost:
    """Ask a few queries of both sides and extend their time to all; it is throttled as the run is."""
    pairs = sum(side.rerank.rank_window_size for side in (spec.before, spec.after) if side.rerank) * len(queries)
    seconds = 0.0
    for _, reached in sides.items():
        searcher = Searcher(reached, spec)
        start = time.perf_counter()
        for query in queries[:_PROBES]:
            searcher.ask(query.query)
        each = (time.perf_counter() - start) / max(1, len(queries[:_PROBES]))
        share = each if reached.scorer else each / spec.threads
        seconds += max(share, 1 / spec.requests_per_second) * len(queries)
    return Cost(len(queries), 2 * len(queries), pairs, seconds / 3600)
