"""Measure nDCG and time for growing ``rank_window_size``, and find the knee, beyond which more time gains little.

The hits of the widest window are scored once, and every smaller window uses those scores, so depths differ in nothing else. Time
is measured for each depth on a few queries. With both axes scaled to 0..1, the knee is the depth at which nDCG is furthest above
the straight line from the first depth to the last (Satopää and others, Kneedle, 2011).
"""

import secrets
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connector.audit.ask.access import Reached
from connector.audit.ask.run import Progress
from connector.audit.ask.search import Searcher
from connector.audit.compare import measures
from connector.audit.folder import Folder
from connector.audit.judge.judgments import judgments
from connector.audit.sample import Query
from connector.fields import Template
from connector.scorers import score_hits
from slimrank.errors import ConfigError, DataError
from slimrank.scoring import Scorer
from slimrank.types import Json

DEPTHS = (0, 5, 10, 20, 30, 50, 75, 100)
_TIMED_QUERIES = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One depth; 0 is the first stage alone."""

    depth: int
    ndcg: float
    milliseconds: float
    """The median time of scoring that many hits of a query."""


def sweep(
    folder: Folder, reached: Reached, depths: Sequence[int] = DEPTHS, progress: Progress = lambda done, total: None
) -> Json:
    """Measure each depth on the judged queries, and write ``sweep.json``.

    Raises:
        ConfigError: the side is not reranked.
        DataError: no query is judged.
    """
    spec, rerank, scorer = folder.spec, reached.side.rerank, reached.scorer
    if rerank is None or scorer is None:
        raise ConfigError(f"{reached.side.index} is not reranked; set `rerank` with the gateway's URL on that side")
    count = sum(1 for _ in _judged(folder))
    if not count:
        raise DataError(
            f"no query of {folder.path} is judged, so depths cannot be compared; set `judges`, and run the report first"
        )
    searcher, text = Searcher(reached, spec), Template.of(rerank.fields)
    totals = dict.fromkeys(depths, 0.0)
    seconds: dict[int, list[float]] = {depth: [] for depth in depths}
    weight = 0.0
    for place, (query, grades) in enumerate(_judged(folder)):
        weight += query.weight
        hits = searcher.first_stage(query.query, max(depths))
        ids, texts = [document for document, _ in hits], [text.render(hit) for _, hit in hits]
        scores = score_hits(scorer, query.query, texts).scores.tolist() if texts else []
        for depth in depths:
            ranking = window(ids, scores, depth)
            totals[depth] += query.weight * measures.ndcg(ranking, grades, spec.k)
            if place < _TIMED_QUERIES:
                seconds[depth].append(_time(scorer, query.query, texts[:depth]))
        progress(place + 1, count)
    points = [Point(depth, totals[depth] / weight, 1000 * statistics.median(seconds[depth])) for depth in depths]
    found: Json = {
        "side": reached.side.index,
        "queries": count,
        "points": [{"depth": point.depth, "ndcg": point.ndcg, "milliseconds": round(point.milliseconds, 3)} for point in points],
        "knee": knee(points),
    }
    folder.write("sweep.json", found)
    return found


def _judged(folder: Folder) -> Iterator[tuple[Query, Mapping[str, int]]]:
    """Yield the judged queries of the traffic with their grades."""
    judged = judgments(folder)
    pairs = ((query, judged(query.query_id)) for query in folder.queries())
    return ((query, grades) for query, grades in pairs if grades and query.weight > 0)


def window(ids: Sequence[str], scores: Sequence[float], depth: int) -> list[str]:
    """Return the ranking in which only the first ``depth`` hits are reordered; equal scores keep the first-stage order."""
    top = sorted(range(min(depth, len(ids))), key=lambda place: -scores[place])
    return [ids[place] for place in top] + list(ids[depth:])


def knee(points: Sequence[Point]) -> int | None:
    """Return the depth beyond which more time gains little; None if no greater depth is better."""
    first, last = points[0], points[-1]
    best = max(point.ndcg for point in points)
    if best <= first.ndcg or last.milliseconds <= first.milliseconds:
        return None
    gain, cost = best - first.ndcg, last.milliseconds - first.milliseconds
    return max(
        points, key=lambda point: (point.ndcg - first.ndcg) / gain - (point.milliseconds - first.milliseconds) / cost
    ).depth


def _time(scorer: Scorer, query: str, texts: Sequence[str]) -> float:
    """Return the seconds that scoring takes; 0 without hits. A unique word in the query makes sure that no score is cached."""
    query = f"{query} {secrets.token_hex(4)}"
    start = time.perf_counter()
    if texts:
        score_hits(scorer, query, texts)
    return time.perf_counter() - start
