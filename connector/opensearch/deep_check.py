"""Look for every known trap in a live OpenSearch installation, in an index and in sample searches. Only reads.

``connector.opensearch.traps`` holds the rules; this module reads what the rules check.
"""

from collections.abc import Sequence

from connector.cluster import Cluster
from connector.facts import read_facts
from connector.findings import Finding
from connector.opensearch import shapes, traps
from connector.opensearch.installation import require_installation
from connector.opensearch.judging_processors import refuses_pages
from connector.opensearch.pipelines import find_pipeline
from connector.opensearch.scripts import DEFAULT_SIZE
from slimrank.types import Json

_SAMPLES = 100
_PAGING = Finding(
    "paging", "ok", "later pages are refused with a clear message; a pipeline cannot see scroll and search_after, which would lose "
    "or repeat hits: send such searches with search_pipeline=_none"
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
    """Look for every known trap in an installation, an index and sample searches; return an empty list if there is none.

    Args:
        index: An index whose mapping and settings are checked too.
        searches: Bodies of searches that use the pipeline, or the lines of an ``_msearch``.
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
    for name, body in mappings.items():  # an alias or a pattern can stand for several indices
        flat = settings.get(name, {}).get("settings", {})
        default = flat.get("index.search.default_pipeline")
        default = default if default not in (None, "_none") else None
        mapping = body.get("mappings", {})
        found += traps.index_traps(name, mapping, flat, pipeline, default, size)
        derived = shapes.mapping_traps(name, mapping, pipeline)
        found += derived or shapes.value_traps(name, _samples(cluster, name), pipeline)
    return found


def _samples(cluster: Cluster, index: str) -> list[Json]:
    """Return the ``_source`` of some documents of an index."""
    body: Json = {"query": {"match_all": {}}, "size": _SAMPLES}
    hits = cluster.read(f"/{index}/_search?search_pipeline=_none", body)["hits"]["hits"]
    return [hit.get("_source", {}) for hit in hits]
