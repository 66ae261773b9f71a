"""Graded labels from click logs in OpenSearch's User Behavior Insights format (UBI 1.3).

It reads two exports, each line one document of the index as JSON: ``ubi_queries`` (``query_id``,
``user_query``, ``query_response_hit_ids`` in the order shown) and ``ubi_events`` (``query_id``,
``action_name``, ``event_attributes.object.object_id``).

Position bias: users click the first document more often because it is first. Labels are therefore clicks over
expected clicks (COEC, Zhang and Jones 2007, https://doi.org/10.1145/1242572.1242700): the clicks on a document for a
query, divided by the average clicks at the ranks where it was shown, over the whole log.
This corrects for ranks, not for trust or appearance. A document that was never shown stays unjudged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimrank.errors import DataError
from slimrank.evaluation.beir import iterate_documents, write_documents, write_qrels, write_queries
from slimrank.evaluation.splits import query_key
from slimrank.files import open_text, parse_json
from slimrank.folders import new_folder

CLICK_ACTIONS = ("click", "product_click", "add_to_cart", "purchase")
GRADE_FLOORS = (0.5, 1.0, 2.0)
"""The COEC from which a pair has grade 1, 2 or 3; below the first it has 0. COEC 1 means as many clicks as its ranks get on average."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One result list that a user saw, and the documents that were clicked in it."""

    query: str
    doc_ids: Sequence[str]
    clicked: frozenset[str]


def read_ubi(queries: Path, events: Path) -> list[Shown]:
    """Read the two exports, leaving out queries without hits.

    Raises:
        DataError: a line is not a UBI document, or no query has hits.
    """
    clicked: dict[str, set[str]] = defaultdict(set)
    for event in _records(events, "query_id"):
        object_id = ((event.get("event_attributes") or {}).get("object") or {}).get("object_id")
        if event.get("action_name") in CLICK_ACTIONS and object_id is not None:
            clicked[event["query_id"]].add(str(object_id))
    shown = [
        Shown(
            query_key(record["user_query"]),
            [str(hit) for hit in record["query_response_hit_ids"]],
            frozenset(clicked[record["query_id"]]),
        )
        for record in _records(queries, "query_id")
        if record.get("query_response_hit_ids") and record.get("user_query")
    ]
    if not shown:
        raise DataError(f"{queries} holds no query with hits; UBI must store user_query and query_response_hit_ids")
    return shown


def grades(shown: Sequence[Shown], *, min_shown: int = 3) -> dict[str, dict[str, int]]:
    """Return query text -> doc_id -> grade 0 to 3 for pairs that were shown at least ``min_shown`` times."""
    rate = click_rates(shown)
    clicks: Counter[tuple[str, str]] = Counter()
    expected: dict[tuple[str, str], float] = defaultdict(float)
    views: Counter[tuple[str, str]] = Counter()
    for answer in shown:
        for place, doc_id in enumerate(answer.doc_ids):
            pair = (answer.query, doc_id)
            views[pair] += 1
            expected[pair] += rate[place]
            clicks[pair] += doc_id in answer.clicked
    qrels: dict[str, dict[str, int]] = {}
    for pair, count in views.items():
        if count >= min_shown:
            coec = clicks[pair] / expected[pair] if expected[pair] else 0.0
            qrels.setdefault(pair[0], {})[pair[1]] = sum(coec >= floor for floor in GRADE_FLOORS)
    return {query: judged for query, judged in qrels.items() if any(judged.values())}


def click_rates(shown: Sequence[Shown]) -> Mapping[int, float]:
    """Return the click rate of each 0-based place over all queries."""
    views: Counter[int] = Counter()
    clicks: Counter[int] = Counter()
    for answer in shown:
        for place, doc_id in enumerate(answer.doc_ids):
            views[place] += 1
            clicks[place] += doc_id in answer.clicked
    return {place: clicks[place] / views[place] for place in views}


def _records(path: Path, key: str) -> Iterator[dict[str, Any]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
                source = record.get("_source", record)  # a hit of a scroll, or the document alone
                if not isinstance(source[key], str):
                    raise TypeError(f"{key} is not a string")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}:{number} is not a UBI document ({error}); export the index as JSON lines") from error
            yield source


def write_collection(shown: Sequence[Shown], corpus: Path, folder: Path, *, min_shown: int = 3) -> int:
    """Write a BEIR folder whose ``train`` split holds the labels from the log; return how many queries it has.

    Args:
        corpus: BEIR folder with the documents that the log names.

    Raises:
        DataError: no query has a clicked document that was shown often enough.
        ConfigError: ``folder`` is not empty.
    """
    found = grades(shown, min_shown=min_shown)
    if not found:
        raise DataError(f"no query has a clicked document that was shown {min_shown} times or more; use a longer log")
    ids = {query: f"ubi-{number}" for number, query in enumerate(found)}
    with new_folder(folder, lambda _: False, "a collection") as partial:
        write_documents(partial, iterate_documents(corpus))
        write_queries(partial, {query_id: query for query, query_id in ids.items()})
        write_qrels(partial, "train", {ids[query]: judged for query, judged in found.items()})
    return len(found)
