"""Look for every known trap in a live OpenSearch installation, an index and sample searches. Reads only.

The rules are `connector.traps`; this brings them what they look at.
"""

from collections.abc import Sequence
from typing import Any

from connector import shapes, traps
from connector.cluster import Cluster
from connector.facts import read_facts
from connector.findings import Finding
from connector.installation import require_installation
from connector.judges import refuses_pages
from connector.pipeline import find_pipeline
from connector.scripts import DEFAULT_SIZE

Json = dict[str, Any]

_SAMPLES = 100
_PAGING = Finding(
    "paging", "ok", "pages behind the first are refused, in words; what scroll and search_after ask is not told to a pipeline, and loses "
    "or repeats hits: send such searches with search_pipeline=_none"
)  # fmt: skip


def deep(
    cluster: Cluster,
    *,
    name: str = "slimrank",
    pipeline: str = "",
    index: str = "",
    searches: Sequence[Json] = (),
    is_msearch: bool = False,
) -> list[Finding]:
    """Look for every known trap in an installation, an index and sample searches; an empty list means none.

    Args:
        index: look at this index's mapping and settings too.
        searches: bodies to be sent through the pipeline, or the lines of an _msearch.
    """
    facts = read_facts(cluster)
    installation = require_installation(cluster, name)
    body = find_pipeline(cluster, pipeline or name) or {}
    found = [_PAGING] if refuses_pages(body) else []
    found += traps.pipeline_traps(facts, body)
    found += traps.connector_traps(cluster.read(f"/_plugins/_ml/connectors/{installation.connector_id}"))
    for model_id in installation.models:
        found += traps.model_traps(cluster.read(f"/_plugins/_ml/models/{model_id}"))
    bodies_sent = list(searches)[1::2] if is_msearch else list(searches)
    if index:
        found += _look_at_index(
            cluster, index, body, max((int(search.get("size", DEFAULT_SIZE)) for search in bodies_sent), default=DEFAULT_SIZE)
        )
    found += traps.msearch_traps(list(searches)) if is_msearch else []
    for search in bodies_sent:
        found += traps.body_traps(search, body)
    return found


def _look_at_index(cluster: Cluster, index: str, pipeline: Json, size: int) -> list[Finding]:
    found = []
    mappings = cluster.read(f"/{index}/_mapping")
    settings = cluster.read(f"/{index}/_settings/index.*?flat_settings=true")
    for name, body in mappings.items():  # an alias or a pattern may be several
        flat = settings.get(name, {}).get("settings", {})
        default = flat.get("index.search.default_pipeline")
        default = default if default not in (None, "_none") else None
        mapping = body.get("mappings", {})
        found += traps.index_traps(name, mapping, flat, pipeline, default, size)
        derived = shapes.mapping_traps(name, mapping, pipeline)
        found += derived or shapes.value_traps(name, _samples(cluster, name), pipeline)
    return found


def _samples(cluster: Cluster, index: str) -> list[Json]:
    """Return what some documents of an index hold."""
    body: Json = {"query": {"match_all": {}}, "size": _SAMPLES}
    hits = cluster.read(f"/{index}/_search?search_pipeline=_none", body)["hits"]["hits"]
    return [hit.get("_source", {}) for hit in hits]
