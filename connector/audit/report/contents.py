"""Build the report: one JSON document that holds everything. JUnit XML and HTML are written from it.

The same answers, judgments and seed give the same ``report.json``, byte for byte; latencies and dates are in ``timings.json``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from typing import Any

from connector.audit.ask.access import Sides
from connector.audit.compare import significance
from connector.audit.compare.by_query import Row, compare_queries
from connector.audit.compare.causes import find_causes
from connector.audit.compare.content import compare_content
from connector.audit.compare.tally import Tally, tallied
from connector.audit.compare.verdict import judge_rules, outcome_of
from connector.audit.folder import Folder
from connector.audit.judge import agreement
from connector.audit.judge.judgments import judgments
from connector.audit.spec import JUDGED
from connector.audit.spill import quantiles
from slimrank import __version__
from slimrank.types import Json


def examine(folder: Folder, sides: Sides) -> None:
    """Compare documents and find causes while both sides still exist; write ``content.json`` and ``causes.json``."""
    spec = folder.spec
    if not folder.has("content.json"):
        content: Json = compare_content(spec, sides) if spec.content == "full" else {}
        folder.write("content.json", content)
    if not folder.has("causes.json"):
        states = {which: folder.read(f"{which}.json") for which, _ in sides.items()}
        folder.write("causes.json", find_causes(folder, compare_queries(folder), folder.read("content.json"), states, sides))


def build(folder: Folder) -> Json:
    """Return the report, built from the folder alone; ``examine`` and the judges must have run before."""
    with tallied(compare_queries(folder, judgments(folder))) as tally:
        return _describe(folder, tally)


def _describe(folder: Folder, tally: Tally) -> Json:
    spec = folder.spec
    paired = significance.compare(JUDGED, tally.blocks, seed=spec.sample.seed) if tally.has_judged else []
    content = folder.read("content.json")
    scalars = _scalars(tally, content, paired) | _latency(folder)
    findings = judge_rules(spec.rules, paired, scalars, judged_share=_judged_share(tally))
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
            "queries": _counts(tally),
            "scalars": {name: value for name, value in scalars.items() if "latency" not in name or name in used},
            "paired": [asdict(pair) for pair in paired],
            "bounds": _bounds(tally),
            "judged_queries": tally.counts["judged"],
            "unjudged_changed": tally.counts["unjudged_changed"],
            "strata": _strata(tally),
            "golden": tally.golden,
            "judges": agreement.describe(folder),
            "content": content,
            "causes": folder.read("causes.json"),
            "changes": tally.changes,
            "shown": _shown(tally, folder),
            "before": folder.read("before.json"),
            "after": folder.read("after.json"),
        }
    )
    return report


def _counts(tally: Tally) -> Json:
    names = ("asked", "changed", "reordered_only", "newly_empty", "newly_found", "failed", "open_ties", "duplicates")
    effective = tally.weight**2 / tally.squared_weight if tally.squared_weight else 0.0
    return {name: tally.counts[name] for name in names} | {"effective": effective}


def _scalars(tally: Tally, content: Json, paired: Sequence[significance.Paired]) -> dict[str, float]:
    nan = float("nan")
    ndcg = next((pair for pair in paired if pair.measure == "nDCG"), None)
    return {
        "overlap": tally.means.of("overlap"),
        "Jaccard": tally.means.of("jaccard"),
        "RBO": tally.means.of("rbo"),
        "Kendall tau": tally.means.of("tau"),
        "rank-biased distance": tally.means.of("distance"),
        "changed": tally.means.of("changed"),
        "newly empty": tally.means.of("newly_empty"),
        "newly found": tally.means.of("newly_found"),
        "hits ratio": tally.total_after / tally.total_before if tally.total_before else nan,
        "failed queries": float(tally.counts["failed"]),
        "golden broken": float(tally.counts["broken"]),
        "documents lost": float(content.get("lost", nan)),
        "documents new": float(content.get("new", nan)),
        "documents changed": float(content.get("changed", nan)),
        "detectable nDCG": ndcg.minimum_detectable if ndcg else nan,
    }


def _latency(folder: Folder) -> dict[str, float]:
    found: Json = {}
    for side in ("before", "after"):
        cuts = quantiles((timing[side]["seconds"] for timing in folder.timings()), (0.5, 0.95, 0.99))
        found[f"latency {side}"] = {name: round(cut, 6) for name, cut in zip(("p50", "p95", "p99"), cuts, strict=True)}
    folder.write("timings.json", found)
    return {"latency ratio": found["latency after"]["p50"] / found["latency before"]["p50"]}


def _judged_share(tally: Tally) -> float:
    """Return the share of the changed traffic that has judgments; 1 if nothing changed."""
    return tally.changed_judged_weight / tally.changed_weight if tally.changed_weight else 1.0


def _bounds(tally: Tally) -> Json:
    """Return the mean bounds of each judged measure, and the mean coverage."""
    found: Json = {name: [tally.means.of(f"{name} low"), tally.means.of(f"{name} high")] for name in tally.bound_names}
    sides = {which: tally.means.of(f"coverage {which}") for which in ("before", "after")}
    return found | ({"coverage": sides} if tally.bound_names else {})


def _strata(tally: Tally) -> list[Json]:
    names = dict.fromkeys(["head", "torso", "tail", *sorted(tally.strata.keys() - {"golden"}), "golden"])
    return [_stratum(name, tally) for name in names if name in tally.strata]


def _stratum(name: str, tally: Tally) -> Json:
    """Describe one stratum; golden queries all have the same weight."""
    means, size = tally.strata[name], tally.sizes[name]
    figures = ("changed", "rbo", "overlap", "ndcg_before", "ndcg_after")
    share = None if name == "golden" else means.of("share") * size
    return {"stratum": name, "queries": size, "share": share, **{figure: means.of(figure) for figure in figures}}


def _shown(tally: Tally, folder: Folder) -> list[Json]:
    """Return the worst, the best and the most changed queries with the lists of both sides."""
    wanted = {row.query.query_id: row for row in (*tally.worst.rows, *tally.best.rows)}
    grades = judgments(folder)
    found = [
        _show(wanted[answer["query_id"]], documents, grades(answer["query_id"]))
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
    """Return JSON content in which nan and infinity are None, because JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and (isnan(value) or value in (float("inf"), float("-inf"))) else value
