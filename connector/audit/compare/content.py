"""Compare all documents of both sides: which are lost, new, or changed in a field that counts.

It reads both sides by scroll and keeps 16 bytes for each document (a hash of the id, a hash of the content), so ten million
documents on each side need 320 MB. Examples are found by reading again, which is skipped if all hashes match.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from connector.audit.ask.access import Reached, Sides
from connector.audit.ask.documents import content_hash
from connector.audit.ask.fields import compared_fields, under
from connector.audit.ask.search import business_id
from connector.audit.spec import Spec
from slimrank.types import Json

_PAGE = 1000
_EXAMPLES = 20
_INSPECTED = 200
"""The number of changed documents whose fields are compared one by one."""
Hashes = npt.NDArray[np.uint64]


def compare_content(spec: Spec, sides: Sides) -> Json:
    """Return counts and examples of the differences; ``{"same": True, ...}`` if there are none.

    Fields that neither side's query searches are left out (``fields.compared_fields``).
    """
    fields = compared_fields(spec)
    first, second = (_hashes(reached, spec, fields) for _, reached in sides.items())
    lost = ~np.isin(first[0], second[0])
    new = ~np.isin(second[0], first[0])
    changed_ids = _changed(first, second)
    found: Json = {
        "compared": fields if fields is not None else "all fields",
        "before": len(first[0]),
        "after": len(second[0]),
        "lost": int(lost.sum()),
        "new": int(new.sum()),
        "changed": len(changed_ids),
        "fingerprints": {"before": _combined(first), "after": _combined(second)},
    }
    found["same"] = not (found["lost"] or found["new"] or found["changed"])
    if found["same"]:
        return found
    found["lost_examples"] = _examples(sides.before, spec, first[0][lost])
    found["new_examples"] = _examples(sides.after, spec, second[0][new])
    found["changed_examples"] = _examples(sides.before, spec, changed_ids)
    found["fields"] = _field_changes(spec, sides, fields, changed_ids)
    return found


def iterate_sources(reached: Reached, source: Any) -> Iterator[Json]:
    """Yield every hit of an index, with a filtered ``_source``, in no particular order."""
    cluster = reached.cluster
    page = cluster.read(f"/{reached.side.index}/_search?scroll=5m", {"size": _PAGE, "sort": ["_doc"], "_source": source})
    try:
        while hits := page["hits"]["hits"]:
            yield from hits
            page = cluster.read("/_search/scroll", {"scroll": "5m", "scroll_id": page["_scroll_id"]})
    finally:
        cluster.read("/_search/scroll", {"scroll_id": page["_scroll_id"]}, method="DELETE")


def _sources(reached: Reached, spec: Spec, fields: list[str] | None) -> Iterator[tuple[str, Json]]:
    wanted: Any = True if fields is None else sorted({name.partition(".")[0] for name in fields} | ({spec.id_field} - {"_id"}))
    for hit in iterate_sources(reached, wanted):
        content = {name: value for name, value in hit["_source"].items() if under(name, fields)}
        yield business_id(hit, spec.id_field), content


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _hashes(reached: Reached, spec: Spec, fields: list[str] | None) -> tuple[Hashes, Hashes]:
    """Return the hashes of ids and of contents, sorted by the hashes of ids."""
    pairs = np.fromiter(
        ((_hash(doc_id), _hash(content_hash(content))) for doc_id, content in _sources(reached, spec, fields)),
        dtype=[("id", np.uint64), ("content", np.uint64)],
    )
    pairs.sort(order="id")
    return pairs["id"], pairs["content"]


def _changed(first: tuple[Hashes, Hashes], second: tuple[Hashes, Hashes]) -> Hashes:
    _, mine, theirs = np.intersect1d(first[0], second[0], assume_unique=False, return_indices=True)
    changed: Hashes = first[0][mine][first[1][mine] != second[1][theirs]]
    return changed


def _combined(hashes: tuple[Hashes, Hashes]) -> str:
    """Return a fingerprint of a whole side, which does not depend on the order of its documents."""
    return hashlib.sha256(hashes[0].tobytes() + hashes[1].tobytes()).hexdigest()[:16]


def _examples(reached: Reached, spec: Spec, wanted: Hashes) -> list[str]:
    """Return some of the business ids that have the wanted hashes."""
    if not len(wanted):
        return []
    some = set(wanted[:_EXAMPLES].tolist())
    ids = [business_id(hit, spec.id_field) for hit in iterate_sources(reached, [spec.id_field])] if some else []
    return sorted(doc_id for doc_id in ids if _hash(doc_id) in some)


def _field_changes(spec: Spec, sides: Sides, fields: list[str] | None, changed: Hashes) -> Json:
    """Count which fields were lost, added or changed, in a sample of the changed documents."""
    some = set(changed[:_INSPECTED].tolist())
    if not some:
        return {}
    old_side, new_side = (
        {doc_id: content for doc_id, content in _sources(reached, spec, fields) if _hash(doc_id) in some}
        for _, reached in sides.items()
    )
    counts: Counter[tuple[str, str]] = Counter()
    for doc_id, old in old_side.items():
        now = new_side.get(doc_id, {})
        for name in old.keys() | now.keys():
            if old.get(name) != now.get(name):
                counts[name, "lost" if name not in now else "added" if name not in old else "changed"] += 1
    return {
        "inspected": len(old_side),
        **{
            kind: {name: count for (name, what), count in sorted(counts.items()) if what == kind}
            for kind in ("lost", "added", "changed")
        },
    }
