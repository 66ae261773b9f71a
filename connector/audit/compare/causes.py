"""Find out why the rankings changed: collect evidence for each query, then order the causes by the share of change they explain.

A changed query counts for a cause only if there is evidence in that query: one of its documents is missing or has other content,
or the engine produces other tokens. A difference that affects everything (the query template, a setting) counts for every changed
query. If nothing else explains a query, term statistics do: the number of documents and deleted documents change the IDF.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import nsmallest

from connector.audit.ask.access import Sides
from connector.audit.ask.fields import compared_fields
from connector.audit.compare.by_query import Row
from connector.audit.compare.differences import Difference, find_differences, value_in_words
from connector.audit.compare.explain import explain_document
from connector.audit.compare.tokens import Analyzers, Token
from connector.audit.folder import Folder
from connector.audit.spec import Spec
from slimrank.types import Json

_INSPECTED = 300
"""The number of changed queries to inspect, the most changed first."""
_EXPLAINED = 5
_EXAMPLES = 5

# Among causes with equal shares, the order here counts: a lost document is stronger evidence than a different setting.
TITLES = {
    "refused": "the new side refuses the query",
    "documents lost": "documents are missing on the new side",
    "field lost": "documents lost a field",
    "documents changed": "documents have different content on the new side (they are stale, or were changed later)",
    "documents new": "documents are new on the new side",
    "synonyms": "synonyms differ",
    "analysis": "the analyzers produce different tokens",
    "mapping": "the mapping of a searched field differs",
    "query": "the two sides are asked differently",
    "pipeline": "the search pipeline differs",
    "settings": "settings that affect ranking differ",
    "engine": "the engines or their versions differ",
    "shards": "the number of shards differs, and each shard has its own term statistics (dfs_query_then_fetch compensates for this)",
    "statistics": "term statistics differ: document counts, or deleted documents that still count in IDF (a force merge removes them)",
    "unexplained": "none of the comparisons explains it",
}
_EVERYWHERE = ("query", "pipeline", "settings", "engine", "shards", "mapping")


@dataclass(slots=True)
class Cause:
    """One cause, with the share of the changed traffic that has evidence of it."""

    kind: str
    title: str
    share: float
    queries: int
    examples: list[str] = field(default_factory=list)


def find_causes(folder: Folder, rows: Iterable[Row], content: Json, states: Mapping[str, Json], sides: Sides) -> Json:
    """Return the differences, the causes (largest share first), and tokens and score explanations of the most changed queries."""
    spec = folder.spec
    differences = find_differences(spec, states["before"], states["after"])
    differing = (row for row in rows if row.changed or row.failed)
    changed = nsmallest(_INSPECTED, differing, key=lambda row: (row.rbo, row.query.query_id))
    reasons: dict[str, dict[str, str]] = {row.query.query_id: {} for row in changed}
    _from_documents(folder, reasons, changed)
    tokens = _from_tokens(spec, changed, reasons, folder, states, sides, differences)
    _from_configuration(changed, reasons, differences, states, content)
    return {
        "differences": [asdict(difference) for difference in differences],
        "causes": [asdict(cause) for cause in _rank(changed, reasons)],
        "inspected": len(changed),
        "reasons": {query_id: sorted(found) for query_id, found in sorted(reasons.items())},
        "tokens": tokens,
        "explanations": _explain(changed[:_EXPLAINED], folder, sides),
    }


def _rank(changed: Sequence[Row], reasons: Mapping[str, Mapping[str, str]]) -> list[Cause]:
    """Return the causes by decreasing share of the changed traffic; if only golden queries changed, by their number."""
    golden_only = all(row.query.weight == 0 for row in changed)
    weights = {row.query.query_id: 1.0 if golden_only else row.query.weight for row in changed}
    total = sum(weights.values())
    by_kind: dict[str, list[str]] = defaultdict(list)
    for query_id, found in reasons.items():
        for kind in found:
            by_kind[kind].append(query_id)
    causes = [
        Cause(
            kind,
            TITLES[kind],
            sum(weights[query_id] for query_id in query_ids) / total if total else 0.0,
            len(query_ids),
            list(dict.fromkeys(reasons[query_id][kind] for query_id in query_ids if reasons[query_id][kind]))[:_EXAMPLES],
        )
        for kind, query_ids in by_kind.items()
    ]
    order = list(TITLES)
    return sorted(causes, key=lambda cause: (-round(cause.share, 6), order.index(cause.kind)))


def _from_documents(folder: Folder, reasons: dict[str, dict[str, str]], changed: Sequence[Row]) -> None:
    """Compare the documents of each changed query on both sides."""
    by_id = {row.query.query_id: row for row in changed}
    for answer, documents in folder.documents():
        row = by_id.get(answer["query_id"])
        if row is None:
            continue
        found = reasons[row.query.query_id]
        if row.failed:
            found["refused"] = row.error_after or ""
        for doc_id in _moved(row):
            sides = documents.get(doc_id)
            if sides is None:
                continue
            old, new = sides["before"], sides["after"]
            if new is None and old is not None:
                found.setdefault("documents lost", f"{doc_id} is missing")
            elif old is None and new is not None:
                found.setdefault("documents new", f"{doc_id} is new")
            elif old is not None and new is not None and old["fields"] != new["fields"]:
                _blame_content(found, doc_id, old["fields"], new["fields"])


def _blame_content(found: dict[str, str], doc_id: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    lost = sorted(old.keys() - new.keys())
    if lost:
        found.setdefault("field lost", f"{doc_id} no longer has {', '.join(lost)}")
    if any(old.get(name) != value for name, value in new.items()):
        names = sorted(name for name, value in new.items() if old.get(name) != value)
        found.setdefault("documents changed", f"{doc_id} differs in {', '.join(names)}")


def _moved(row: Row) -> list[str]:
    """Return the documents that entered or left the ranking, or changed rank."""
    ranks = {document: rank for rank, document in enumerate(row.before)}
    moved = [document for rank, document in enumerate(row.after) if ranks.get(document) != rank]
    return moved + [document for document in row.before if document not in set(row.after)]


def _from_tokens(
    spec: Spec,
    changed: Sequence[Row],
    reasons: dict[str, dict[str, str]],
    folder: Folder,
    states: Mapping[str, Json],
    sides: Sides,
    differences: Iterable[Difference],
) -> Json:
    """Compare the tokens of each query and of a document that moved; return the tokens that differ."""
    fields = compared_fields(spec) or _text_fields(states["before"])
    a, b = (Analyzers(states[which], reached.cluster) for which, reached in sides.items())
    texts = _texts(folder, {row.query.query_id: (_moved(row) or [""])[0] for row in changed})
    blames_synonyms = any("synonym" in f"{difference.path} {difference.before} {difference.after}" for difference in differences)
    shown: Json = {}
    for row in changed:
        query = row.query
        for name in fields:
            pairs = (
                ("query", a.of_query(name, query.query), b.of_query(name, query.query)),
                (
                    "document",
                    a.of_document(name, texts.get(query.query_id, "")),
                    b.of_document(name, texts.get(query.query_id, "")),
                ),
            )
            for what, old, new in pairs:
                if old == new or old is None or new is None:
                    continue
                kind = "synonyms" if blames_synonyms and _only_synonyms(old, new) else "analysis"
                where = f"the query in {name}" if what == "query" else f"a document's {name}"
                reasons[query.query_id].setdefault(kind, f"{where}: {_change(_only(old, new), _only(new, old))}")
                if what == "query":
                    shown.setdefault(query.query_id, {})[name] = {"before": _texts_of(old), "after": _texts_of(new)}
    return shown


def _only_synonyms(old: Sequence[Token], new: Sequence[Token]) -> bool:
    """Tell whether the tokens, apart from positions, differ only by synonyms."""
    a, b = ({token for token, _, kind in tokens if kind != "SYNONYM"} for tokens in (old, new))
    synonyms = {token for tokens in (old, new) for token, _, kind in tokens if kind == "SYNONYM"}
    return (a ^ b) <= synonyms and bool(synonyms)


def _only(tokens: Sequence[Token], others: Sequence[Token]) -> list[str]:
    texts = {token for token, _, _ in others}
    return [token for token, _, _ in tokens if token not in texts]


def _change(lost: Sequence[str], gained: Sequence[str]) -> str:
    """Return a line that shows which tokens were lost and which were gained."""
    if not lost and not gained:
        return "the same tokens in other places"
    words = [" ".join(tokens[:6]) + " ..." * (len(tokens) > 6) for tokens in (lost, gained)]
    return " → ".join(some or "nothing" for some in words)


def _texts_of(tokens: Sequence[Token]) -> list[str]:
    return [token for token, _, _ in tokens]


def _text_fields(state: Json) -> list[str]:
    """Return the text fields of an index, for a query whose fields are unknown."""
    properties = next(iter(state["indices"].values()))["mappings"].get("properties", {})
    return sorted(name for name, mapping in properties.items() if mapping.get("type") == "text")


def _texts(folder: Folder, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return query_id -> the text of the wanted document."""
    found: dict[str, str] = {}
    for answer, documents in folder.documents():
        sides = documents.get(wanted.get(answer["query_id"], ""))
        if sides:
            found[answer["query_id"]] = (sides["before"] or sides["after"] or {"text": ""})["text"]
    return found


def _from_configuration(
    changed: Sequence[Row],
    reasons: dict[str, dict[str, str]],
    differences: Sequence[Difference],
    states: Mapping[str, Json],
    content: Json,
) -> None:
    """Add the differences that affect every query; the remaining queries count for statistics, or as unexplained."""
    everywhere = {
        _kind(difference): f"{difference.path}: {value_in_words(difference.before)} became {value_in_words(difference.after)}"[
            :200
        ]
        for difference in reversed(differences)
        if not difference.harmless and difference.where in _EVERYWHERE
    }
    counts = {which: [index["documents"] for index in state["indices"].values()] for which, state in states.items()}
    statistics = [difference for difference in differences if difference.where == "deleted documents"]
    for row in changed:
        found = reasons[row.query.query_id]
        found |= {kind: text for kind, text in everywhere.items() if kind not in found}
        if not found:
            differs = bool(statistics) or counts["before"] != counts["after"] or not content.get("same", True)
            deleted = statistics[0] if statistics else None
            words = (
                f"deleted documents: {deleted.before} became {deleted.after}"
                if deleted
                else "documents differ elsewhere in the index"
            )
            found["statistics" if differs else "unexplained"] = words if differs else ""


def _kind(difference: Difference) -> str:
    """Return the cause that a difference belongs to."""
    return "analysis" if difference.where == "mapping" and difference.path.endswith("analyzer") else difference.where


def _explain(rows: Sequence[Row], folder: Folder, sides: Sides) -> Json:
    """Explain the scores on both sides of the first document that each of the most changed queries lost or moved."""
    wanted = {row.query.query_id: (row, _moved(row)) for row in rows}
    found: Json = {}
    for answer, documents in folder.documents():
        row, moved = wanted.get(answer["query_id"], (None, []))
        for doc_id in moved:
            both = documents.get(doc_id)
            if row and both and both["before"] and both["after"]:
                found[row.query.query_id] = {
                    "doc_id": doc_id,
                    "before": explain_document(sides.before, row.query.query, both["before"]["_id"]),
                    "after": explain_document(sides.after, row.query.query, both["after"]["_id"]),
                }
                break
    return found
