"""Put an audit's findings together: one JSON that holds everything, from which JUnit XML and HTML are written.

The same answers, judgments and seed give the same `report.json`, byte for byte: latencies and dates are in `timings.json`.
"""

import statistics as std
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from typing import Any

from connector.audit import agreement, statistics
from connector.audit.access import Sides
from connector.audit.causes import find_causes
from connector.audit.compare import Row, compare_queries, judged_of, weighted_mean
from connector.audit.content import compare_content
from connector.audit.folder import Folder
from connector.audit.judgments import all_grades, merge
from connector.audit.spec import Json
from connector.audit.verdict import judge_rules, outcome_of
from slimrank import __version__

_SHOWN = 25
"""Worst and best queries that the report shows with both lists."""
_UNJUDGED = ("overlap", "jaccard", "rbo", "tau", "distance")


def examine(folder: Folder, sides: Sides) -> None:
    """Compare documents and find causes, while both sides are still there; keeps `content.json` and `causes.json`."""
    spec = folder.spec
    if not folder.has("content.json"):
        content: Json = compare_content(spec, sides) if spec.content == "full" else {}
        folder.write("content.json", content)
    if not folder.has("causes.json"):
        rows = list(compare_queries(folder, {}))
        states = {which: folder.read(f"{which}.json") for which, _ in sides.items()}
        folder.write("causes.json", find_causes(folder, rows, folder.read("content.json"), states, sides))


def build(folder: Folder) -> Json:
    """Return the report, from the folder alone; `examine` and the judges came before."""
    spec = folder.spec
    judged_by = all_grades(folder)
    rows = list(compare_queries(folder, merge(judged_by)))
    judged = judged_of(rows)
    paired = (
        statistics.compare(judged.measures, judged.before, judged.after, judged.weights, seed=spec.sample.seed)
        if len(judged.weights)
        else []
    )
    content = folder.read("content.json")
    scalars = _scalars(rows, content, paired) | _latency(folder)
    findings = judge_rules(spec.rules, paired, scalars, judged_share=_judged_share(rows))
    used = {rule.measure for rule in spec.rules}
    report: Json = clean(
        {
            "slimrank": __version__,
            "name": spec.name,
            "verdict": outcome_of(findings),
            "findings": [asdict(finding) for finding in findings],
            "k": spec.k,
            "persistence": spec.persistence,
            "plan": folder.plan,
            "queries": _counts(rows),
            "scalars": {name: value for name, value in scalars.items() if "latency" not in name or name in used},
            "paired": [asdict(pair) for pair in paired],
            "bounds": _bounds(judged.rows),
            "judged_queries": sum(bool(row.values) for row in rows),
            "unjudged_changed": judged.unjudged_changed,
            "strata": _strata(rows),
            "golden": [
                {"query_id": row.query.query_id, "query": row.query.query, "broken": row.broken}
                for row in rows
                if row.query.golden
            ],
            "judges": agreement.describe(judged_by, spec),
            "content": content,
            "causes": folder.read("causes.json"),
            "changes": _changes(rows),
            "shown": _shown(rows, folder),
            "before": folder.read("before.json"),
            "after": folder.read("after.json"),
        }
    )
    return report


def _counts(rows: Sequence[Row]) -> Json:
    return {
        "asked": len(rows),
        "changed": sum(row.changed for row in rows),
        "reordered_only": sum(row.changed and set(row.before) == set(row.after) for row in rows),
        "newly_empty": sum(row.newly_empty for row in rows),
        "newly_found": sum(row.newly_found for row in rows),
        "failed": sum(row.failed for row in rows),
        "open_ties": sum(row.open_tie for row in rows),
        "duplicates": sum(row.duplicates for row in rows),
        "effective": _effective(rows),
    }


def _effective(rows: Sequence[Row]) -> float:
    weights = [row.query.weight for row in rows if row.query.weight > 0]
    return sum(weights) ** 2 / sum(weight**2 for weight in weights) if weights else 0.0


def _scalars(rows: Sequence[Row], content: Json, paired: Sequence[statistics.Paired]) -> dict[str, float]:
    nan = float("nan")
    means = {name: weighted_mean(rows, [getattr(row, name) for row in rows]) for name in _UNJUDGED}
    ndcg = next((pair for pair in paired if pair.measure == "nDCG"), None)
    return {
        "overlap": means["overlap"],
        "Jaccard": means["jaccard"],
        "RBO": means["rbo"],
        "Kendall tau": means["tau"],
        "rank-biased distance": means["distance"],
        "changed": weighted_mean(rows, [float(row.changed) for row in rows]),
        "newly empty": weighted_mean(rows, [float(row.newly_empty) for row in rows]),
        "newly found": weighted_mean(rows, [float(row.newly_found) for row in rows]),
        "hits ratio": _hits_ratio(rows),
        "failed queries": float(sum(row.failed for row in rows)),
        "golden broken": float(sum(row.broken for row in rows)),
        "documents lost": float(content.get("lost", nan)),
        "documents new": float(content.get("new", nan)),
        "documents changed": float(content.get("changed", nan)),
        "detectable nDCG": ndcg.minimum_detectable if ndcg else nan,
    }


def _hits_ratio(rows: Sequence[Row]) -> float:
    """Return all hits after over all hits before, over the traffic."""
    before = sum(row.query.weight * row.total_before for row in rows)
    return sum(row.query.weight * row.total_after for row in rows) / before if before else float("nan")


def _latency(folder: Folder) -> dict[str, float]:
    times = [(timing["before"]["seconds"], timing["after"]["seconds"]) for timing in folder.timings()]
    before, after = ([pair[side] for pair in times] for side in (0, 1))
    found = {"latency before": _quantiles(before), "latency after": _quantiles(after)}
    folder.write("timings.json", found)
    return {"latency ratio": found["latency after"]["p50"] / found["latency before"]["p50"]}


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = std.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    return {"p50": round(cuts[49], 6), "p95": round(cuts[94], 6), "p99": round(cuts[98], 6)}


def _judged_share(rows: Sequence[Row]) -> float:
    """Return the share of the changed traffic whose queries have judgments; 1 where nothing changed."""
    changed = [row for row in rows if row.changed]
    total = sum(row.query.weight for row in changed)
    return sum(row.query.weight for row in changed if row.values) / total if total else 1.0


def _bounds(rows: Sequence[Row]) -> Json:
    """Return the mean bounds of each judged measure, and the mean coverage."""
    known = [row for row in rows if row.bounds]
    found: Json = {
        name: [
            weighted_mean(known, [row.bounds[name].low for row in known]),
            weighted_mean(known, [row.bounds[name].high for row in known]),
        ]
        for name in (known[0].bounds if known else ())
    }
    sides = {which: weighted_mean(known, [row.coverage[side] for row in known]) for side, which in enumerate(("before", "after"))}
    return found | ({"coverage": sides} if known else {})


def _strata(rows: Sequence[Row]) -> list[Json]:
    strata = list(dict.fromkeys([*("head", "torso", "tail"), *sorted({row.query.stratum for row in rows})]))
    groups = {name: [row for row in rows if row.query.stratum == name and row.query.weight > 0] for name in strata}
    groups["golden"] = [row for row in rows if row.query.golden]
    return [_stratum(name, group) for name, group in groups.items() if group]


def _stratum(name: str, rows: Sequence[Row]) -> Json:
    """Describe one stratum; golden queries count alike."""
    alike = name == "golden"
    mean = (lambda some, values: _plain_mean(values)) if alike else weighted_mean
    known = [row for row in rows if row.values]
    return {
        "stratum": name,
        "queries": len(rows),
        "share": None if alike else sum(row.query.weight for row in rows),
        "changed": mean(rows, [float(row.changed) for row in rows]),
        "rbo": mean(rows, [row.rbo for row in rows]),
        "overlap": mean(rows, [row.overlap for row in rows]),
        "ndcg_before": mean(known, [row.values["nDCG"][0] for row in known]),
        "ndcg_after": mean(known, [row.values["nDCG"][1] for row in known]),
    }


def _plain_mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _changes(rows: Sequence[Row]) -> Json:
    """Return the values behind the plots: one number a query, in the order of query ids."""
    return {
        "rbo": [round(row.rbo, 6) for row in rows],
        "ndcg": [round(row.values["nDCG"][1] - row.values["nDCG"][0], 6) for row in rows if row.values],
    }


def severity(row: Row) -> tuple[float, float, str]:
    """Return the sort key of the worst queries: broken first, then by nDCG lost, then by how much changed."""
    lost = row.values["nDCG"][0] - row.values["nDCG"][1] if row.values else 0.0
    return (-float(row.failed or row.newly_empty or row.broken), -lost, f"{row.rbo:.6f} {row.query.query_id}")


def _shown(rows: Sequence[Row], folder: Folder) -> list[Json]:
    """Return the worst, the best and the most changed queries with both lists."""
    changed = [row for row in rows if row.changed or row.failed]
    worst = sorted(changed, key=severity)[:_SHOWN]
    gained = [row for row in changed if row.values and row.values["nDCG"][1] > row.values["nDCG"][0]]
    best = sorted(gained, key=lambda row: (row.values["nDCG"][0] - row.values["nDCG"][1], row.query.query_id))[:_SHOWN]
    wanted = {row.query.query_id: row for row in (*worst, *best)}
    grades = merge(all_grades(folder))
    found = [
        _show(wanted[answer["query_id"]], documents, grades.get(answer["query_id"], {}))
        for answer, documents in folder.documents()
        if answer["query_id"] in wanted
    ]
    order = {query_id: place for place, query_id in enumerate(wanted)}
    return sorted(found, key=lambda item: order[item["query_id"]])


def _show(row: Row, documents: Mapping[str, Json], grades: Mapping[str, int]) -> Json:
    def side(ranking: Sequence[str], other: Sequence[str], which: str) -> list[Json]:
        ranks = {document: rank for rank, document in enumerate(other, start=1)}
        return [
            {
                "doc_id": document,
                "rank": rank,
                "other_rank": ranks.get(document),
                "grade": grades.get(document),
                "text": _text(documents.get(document), which),
            }
            for rank, document in enumerate(ranking, start=1)
        ]

    return {
        "query_id": row.query.query_id,
        "query": row.query.query,
        "stratum": row.query.stratum,
        "golden": row.query.golden,
        "weight": row.query.weight,
        "rbo": row.rbo,
        "ndcg": list(row.values["nDCG"]) if row.values else None,
        "ndcg_bounds": list(row.bounds["nDCG difference"]) if row.bounds else None,
        "total": [row.total_before, row.total_after],
        "error": row.error_after,
        "before": side(row.before, row.after, "before"),
        "after": side(row.after, row.before, "after"),
    }


def _text(document: Json | None, which: str) -> str:
    if document is None:
        return ""
    side = document[which] or document["before"] or document["after"] or {"text": ""}
    return str(side["text"])[:300]


def clean(value: Any) -> Any:
    """Return JSON content with nan and infinity as None, which JSON can hold."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and (isnan(value) or value in (float("inf"), float("-inf"))) else value
