"""Grades from clicks by COEC, clicks over expected clicks (Zhang, Jones, 2007), so that a high rank alone earns no grade.

The expected clicks of a rank are its average over all events. COEC 1 means that a document was clicked as often as the average
document at its ranks. The grade is COEC rounded, at most ``max_grade``. A document that was shown fewer than ten times for a
query gets no grade.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from connector.audit.folder import read_lines
from connector.audit.sample import Query
from connector.audit.spec import Judge
from connector.audit.spill import Grade, in_order, scratch
from connector.cluster import Cluster
from slimrank.errors import DataError
from slimrank.hits import value_at
from slimrank.types import Json

LEAST_IMPRESSIONS = 10
_LOWEST_RANK = 10_000
_PAGE = 1000


class Event(NamedTuple):
    """One impression or click."""

    query: str
    doc_id: str
    rank: int
    clicked: bool


def grade_clicks(judge: Judge, cluster: Cluster, queries: Iterable[Query], max_grade: int) -> Iterator[Grade]:
    """Grade the audit's queries from a file of click events or a UBI index."""
    events = _from_file(judge) if judge.file else _from_index(cluster, judge.index or "ubi_events")
    with scratch() as database:
        database.execute("CREATE TABLE asked (query PRIMARY KEY, query_id) WITHOUT ROWID")
        database.executemany("INSERT INTO asked VALUES (?, ?)", ((query.query, query.query_id) for query in queries))

        def graded() -> Iterator[Grade]:
            for query, doc_id, value in coec(events):
                known = database.execute("SELECT query_id FROM asked WHERE query = ?", (query,)).fetchone()
                if known:
                    yield known[0], doc_id, min(int(value + 0.5), max_grade)

        yield from in_order(graded())


_SHOWN = """
CREATE TABLE shown (query, doc_id, rank INTEGER, shown INTEGER, clicked INTEGER, PRIMARY KEY (query, doc_id, rank)) WITHOUT ROWID
"""
_COUNT = """
INSERT INTO shown VALUES (?, ?, ?, ?, ?)
ON CONFLICT (query, doc_id, rank) DO UPDATE SET shown = shown + excluded.shown, clicked = clicked + excluded.clicked
"""
_COEC = """
WITH rates AS (SELECT rank, CAST(SUM(clicked) AS REAL) / SUM(shown) AS rate FROM shown GROUP BY rank HAVING SUM(shown) > 0)
SELECT query, doc_id, SUM(clicked) / SUM(shown * rate) FROM shown LEFT JOIN rates USING (rank)
GROUP BY query, doc_id HAVING SUM(shown) >= ? AND SUM(shown * rate) > 0 ORDER BY query, doc_id
"""


def coec(events: Iterable[Event]) -> Iterator[tuple[str, str, float]]:
    """Yield the query, the document id and the clicks over expected clicks, in order."""
    with scratch() as database:
        database.execute(_SHOWN)
        database.executemany(_COUNT, ((*event[:3], not event.clicked, event.clicked) for event in events))
        yield from database.execute(_COEC, (LEAST_IMPRESSIONS,))


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
    try:
        place = int(rank)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"a click event has the rank {str(rank)[:40]!r}, which is not a number: {str(record)[:80]}") from error
    return Event(" ".join(str(query).split()), str(doc_id), min(max(place, 0), _LOWEST_RANK), action == "click")
