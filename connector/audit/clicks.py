"""Grades from clicks: COEC, clicks over expected clicks (Zhang, Jones, 2007), so that a high rank earns nothing by itself.

What a rank earns on average is taken over all events. COEC 1 means clicked as often as any document at those ranks;
the grade is COEC rounded, at most `max_grade`. Documents shown fewer than ten times to a query have none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from connector.audit.folder import read_lines
from connector.audit.judgments import Grades
from connector.audit.search import value_at
from connector.audit.spec import Json, Judge
from connector.cluster import Cluster

LEAST_IMPRESSIONS = 10
_PAGE = 1000


class Event(NamedTuple):
    """One impression or click."""

    query: str
    doc_id: str
    rank: int
    clicked: bool


def grade_clicks(judge: Judge, cluster: Cluster, queries: Mapping[str, str], max_grade: int) -> Grades:
    """Grade from a file of events or a UBI index; `queries` maps texts to query ids."""
    events = _from_file(judge) if judge.file else _from_index(cluster, judge.index or "ubi_events")
    grades: Grades = defaultdict(dict)
    for (query, doc_id), value in coec(events).items():
        if query in queries:
            grades[queries[query]][doc_id] = min(int(value + 0.5), max_grade)
    return dict(grades)


def coec(events: Iterable[Event]) -> dict[tuple[str, str], float]:
    """Return (query, doc_id) -> clicks over expected clicks."""
    shown: Counter[tuple[str, str, int]] = Counter()
    clicked: Counter[tuple[str, str]] = Counter()
    by_rank: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for query, doc_id, rank, is_click in events:
        by_rank[is_click][rank] += 1
        if is_click:
            clicked[query, doc_id] += 1
        else:
            shown[query, doc_id, rank] += 1
    rates = {rank: by_rank[True][rank] / count for rank, count in by_rank[False].items()}
    expected: defaultdict[tuple[str, str], float] = defaultdict(float)
    impressions: Counter[tuple[str, str]] = Counter()
    for (query, doc_id, rank), count in shown.items():
        expected[query, doc_id] += count * rates[rank]
        impressions[query, doc_id] += count
    return {
        pair: clicked[pair] / expected[pair]
        for pair in sorted(expected)
        if impressions[pair] >= LEAST_IMPRESSIONS and expected[pair] > 0
    }


def _from_file(judge: Judge) -> Iterator[Event]:
    return (event for record in read_lines(judge.file) if (event := _event(record))) if judge.file else iter(())


def _from_index(cluster: Cluster, index_name: str) -> Iterator[Event]:
    page = cluster.read(f"/{index_name}/_search?scroll=5m", {"size": _PAGE, "sort": ["_doc"]})
    while hits := page["hits"]["hits"]:
        yield from (event for hit in hits if (event := _event(hit["_source"])))
        page = cluster.read("/_search/scroll", {"scroll": "5m", "scroll_id": page["_scroll_id"]})
    cluster.read("/_search/scroll", {"scroll_id": page["_scroll_id"]}, method="DELETE")


def _event(record: Json) -> Event | None:
    """Read a UBI event, or a flat record with query, doc_id, rank and action."""
    action = record.get("action_name", record.get("action"))
    query = record.get("user_query", record.get("query"))
    doc_id = value_at(record, "event_attributes.object.object_id") or record.get("doc_id")
    rank = value_at(record, "event_attributes.position.ordinal") or record.get("rank")
    if action not in ("impression", "click") or not query or doc_id is None or rank is None:
        return None
    return Event(" ".join(str(query).split()), str(doc_id), int(rank), action == "click")
