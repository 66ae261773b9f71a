"""Run whole audits of the test shop."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from connector.audit.ask.access import Access
from connector.audit.flow import audit
from connector.audit.folder import Folder
from connector.audit.spec import Spec, parse_spec
from tests.connector.audit.shop import MAPPINGS, SETTINGS, SYNONYMS, Shop

FIELDS = ["title^2", "text"]


class Judging:
    """A grader that calls a function."""

    def __init__(self, grade: Callable[[str, Sequence[str]], list[int | None]]) -> None:
        self.identity = {"model": "m"}
        self._grade = grade

    def __call__(self, query: str, documents: Sequence[str]) -> list[int | None]:
        """Grade documents."""
        return self._grade(query, documents)


def write_sources(folder: Path, shop: Shop) -> tuple[Path, Path]:
    """Write the shop's queries and judgments; return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    queries, qrels = folder / "queries.jsonl", folder / "qrels.tsv"
    records = ({"query_id": query_id, "query": text, "frequency": frequency} for query_id, text, frequency in shop.queries)
    queries.write_text("".join(json.dumps(record) + "\n" for record in records))
    qrels.write_text(
        "".join(f"{query_id}\t{doc}\t{grade}\n" for query_id, judged in shop.qrels.items() for doc, grade in judged.items())
    )
    return queries, qrels


def shop_spec(folder: Path, shop: Shop, url: str, after: dict[str, Any], **others: Any) -> Spec:
    """Return a specification that compares shop_v1 with ``after``; the shop supplies the judgments."""
    queries, qrels = write_sources(folder, shop)
    before = {"url": url, "index": "shop_v1", "fields": FIELDS}
    given = {
        "before": before,
        "after": after,
        "queries": {"file": str(queries)},
        "judges": [{"kind": "qrels", "file": str(qrels)}],
        "requests_per_second": 2000,
        "threads": 2,
    }
    return parse_spec({**given, **others}, "test")


def audit_shop(folder: Path, shop: Shop, url: str, after: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Run the audit and return the report."""
    return audit(shop_spec(folder, shop, url, after, **others), Folder(folder / "audit"), Access())


def changed(settings_or_mappings: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy in which the value at a dotted path is replaced."""
    made = copy.deepcopy(settings_or_mappings)
    *parents, last = path.split(".")
    node = made
    for name in parents:
        node = node[name]
    node[last] = value
    return made


WITHOUT_STEMS = changed(
    changed(SETTINGS, "analysis.analyzer.shop.filter", ["lowercase"]),
    "analysis.analyzer.shop_search.filter",
    ["lowercase", "same"],
)
BROKEN_SYNONYMS = changed(SETTINGS, "analysis.filter.same.synonyms", [SYNONYMS[1]])
assert MAPPINGS["dynamic"] == "false"
