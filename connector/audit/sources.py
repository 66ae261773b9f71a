"""Read real queries and their frequencies from a file, UBI, a log, or the documents themselves.

Every source yields ``Asked``, and may yield the same text many times. This module does not sample and does not remove personal
data.
"""

import re
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from connector.audit.spec import Derived, Log, Queries, Ubi
from connector.cluster import Cluster
from slimrank.errors import DataError
from slimrank.files import open_text, parse_json, plain_name

_PAGE = 1000
_SOURCE = re.compile(r"source\[(\{.*\})\], id\[")
_SHARDS = re.compile(r'total_shards(?:\[|"\s*:\s*"?)(\d+)')


class Asked(NamedTuple):
    """A query as a user asked it."""

    query: str
    frequency: float = 1.0
    query_id: str | None = None


def read_queries(queries: Queries, cluster: Cluster, index_name: str, seed: int) -> Iterator[Asked]:
    """Yield the queries of the source that ``queries`` names; ``cluster`` and ``index_name`` are those of ``before``."""
    if queries.file:
        return read_file(queries.file)
    if queries.log:
        return read_log(queries.log)
    if queries.ubi:
        return read_ubi(cluster, queries.ubi)
    return derive(cluster, index_name, queries.derived, seed) if queries.derived else iter(())


def read_file(path: Path) -> Iterator[Asked]:
    """Yield the queries of a file: JSON lines (``query``, or BEIR's ``_id`` and ``text``), query-tab-frequency lines, or plain
    lines."""
    kind = plain_name(path).rpartition(".")[2]
    is_empty = True
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            is_empty = False
            try:
                yield _from_json(parse_json(line)) if kind == "jsonl" else _from_columns(line.rstrip("\n"), kind == "tsv")
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise DataError(
                    f"{path}:{number}: expected {_EXPECTED.get(kind, _EXPECTED['txt'])}; found {line.strip()[:80]!r}"
                ) from error
    if is_empty:
        raise DataError(f"{path} is empty; each line is {_EXPECTED.get(kind, _EXPECTED['txt'])}")


_EXPECTED = {
    "jsonl": 'an object such as {"query": "red shoes", "frequency": 12} or {"_id": "q1", "text": "red shoes"}',
    "tsv": "a query, a tab and how often it was asked",
    "txt": "a query",
}


def _from_json(record: dict[str, Any]) -> Asked:
    query_id = record.get("query_id", record.get("_id")) if isinstance(record, dict) else None
    text = record["query"] if "query" in record else record["text"]
    if not isinstance(text, str) or not isinstance(query_id, str | int | None):
        raise TypeError("a query is a string, its id a string or a number")
    return Asked(text, _frequency(record.get("frequency", 1)), None if query_id is None else str(query_id))


def _from_columns(line: str, has_frequency: bool) -> Asked:
    query, tab, frequency = line.rpartition("\t") if has_frequency else (line, "", "1")
    return Asked(query, _frequency(frequency)) if tab or not has_frequency else Asked(line)


def _frequency(given: Any) -> float:
    """Return how often a query was asked, as a number above 0."""
    frequency = float(given)
    if not 0 < frequency < inf:
        raise ValueError(f"{given} is not a frequency")
    return frequency


def read_log(log: Log) -> Iterator[Asked]:
    """Yield the queries in a log; lines without a query are skipped."""
    with open_text(log.file) as file:
        for line in file:
            asked = _from_access(line, log.parameter) if log.format == "access" else _from_slow(line)
            if asked:
                yield asked


def _from_access(line: str, parameter: str) -> Asked | None:
    """Find ``"GET /search?q=red+shoes HTTP/1.1"`` in a line."""
    request = re.search(r'"[A-Z]+ (\S+)', line)
    values = parse_qs(urlsplit(request[1]).query).get(parameter) if request else None
    return Asked(values[0]) if values else None


def _from_slow(line: str) -> Asked | None:
    """Find the query in a slow-log line, text or JSON. A search writes one line for each shard, so a line counts as 1 /
    shards."""
    body = _slow_source(line)
    text = next(_query_texts(body), None) if body else None
    shards = _SHARDS.search(line)
    return Asked(text, 1 / int(shards[1]) if shards else 1.0) if text else None


def _slow_source(line: str) -> Any:
    found = _SOURCE.search(line)
    try:
        if found:
            return parse_json(found[1])
        record = parse_json(line)
        source = next((record[name] for name in ("elasticsearch.slowlog.source", "source") if name in record), None)
        return parse_json(source) if isinstance(source, str) else source
    except (ValueError, TypeError):
        return None


def _query_texts(node: Any) -> Iterator[str]:
    """Yield the texts of full-text clauses in a search body, outermost first."""
    if isinstance(node, list):
        for item in node:
            yield from _query_texts(item)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name == "query" and isinstance(value, str):
            yield value
        elif name in ("match", "match_phrase", "match_bool_prefix", "match_phrase_prefix") and isinstance(value, dict):
            yield from (text for text in value.values() if isinstance(text, str))
            yield from _query_texts(list(value.values()))
        else:
            yield from _query_texts(value)


def read_ubi(cluster: Cluster, ubi: Ubi) -> Iterator[Asked]:
    """Yield each distinct ``user_query`` of a UBI index with its count, paging through a composite aggregation."""
    filters: list[dict[str, Any]] = []
    if ubi.application:
        filters.append({"term": {"application": ubi.application}})
    if ubi.since:
        filters.append({"range": {"timestamp": {"gte": ubi.since}}})
    field = _aggregatable(cluster, ubi.index)
    after: dict[str, Any] = {}
    while True:
        composite = {"size": _PAGE, "sources": [{"query": {"terms": {"field": field}}}], **after}
        body = {"size": 0, "query": {"bool": {"filter": filters}}, "aggs": {"queries": {"composite": composite}}}
        found = cluster.read(f"/{ubi.index}/_search", body)["aggregations"]["queries"]
        for bucket in found["buckets"]:
            yield Asked(bucket["key"]["query"], bucket["doc_count"])
        if "after_key" not in found:
            return
        after = {"after": found["after_key"]}


def _aggregatable(cluster: Cluster, index_name: str) -> str:
    """Return ``user_query``, or its keyword subfield if a dynamic mapping made it a text field."""
    fields = cluster.read(f"/{index_name}/_field_caps?fields=user_query,user_query.keyword").get("fields", {})
    for name in ("user_query", "user_query.keyword"):
        if any(kind.get("aggregatable") for kind in fields.get(name, {}).values()):
            return name
    raise DataError(f"index {index_name} has no field user_query that can be aggregated; is it a UBI queries index?")


def derive(cluster: Cluster, index_name: str, derived: Derived, seed: int) -> Iterator[Asked]:
    """Yield the first words of a field of randomly drawn documents: for an index that nobody has searched yet."""
    score = {"random_score": {"seed": seed, "field": "_seq_no"}}
    body = {
        "size": min(derived.count, 10_000),
        "_source": [derived.field],
        "query": {"function_score": {"query": {"exists": {"field": derived.field}}, **score}},
    }
    for hit in cluster.read(f"/{index_name}/_search", body)["hits"]["hits"]:
        words = str(hit["_source"].get(derived.field, "")).split()
        if words:
            yield Asked(" ".join(words[: derived.words]))
