"""Look for every known trap in a live OpenSearch installation, an index and sample searches. Reads only.

The rules are `connector.traps`; this brings them what they look at.
"""

from collections.abc import Sequence
from typing import Any

from connector import bodies, traps
from connector.cluster import Cluster, Refusal
from connector.facts import read_facts
from connector.findings import Finding
from connector.judges import judges_of
from connector.opensearch import find_pipeline, require_installation

Json = dict[str, Any]


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
    found = traps.pipeline_traps(facts, body)
    found += traps.connector_traps(cluster.read(f"/_plugins/_ml/connectors/{installation.connector_id}"))
    for model_id in installation.models:
        found += traps.model_traps(cluster.read(f"/_plugins/_ml/models/{model_id}"))
        if not any(judge.query_path for judge in judges_of(body)):
            found += _try_json_query(cluster, model_id)
    if index:
        found += _look_at_index(cluster, index, body)
    bodies_sent = list(searches)[1::2] if is_msearch else list(searches)
    found += traps.msearch_traps(list(searches)) if is_msearch else []
    for search in bodies_sent:
        found += traps.body_traps(search, body)
    return found


def _try_json_query(cluster: Cluster, model_id: str) -> list[Finding]:
    try:
        cluster.read(f"/_plugins/_ml/_predict/text_similarity/{model_id}", bodies.predict('["error"]', ["a"]))
    except Refusal:
        words = 'a query that is itself a JSON list or object, such as ["error"], is refused by ML Commons and not reranked'
        return [Finding("query that is JSON", "warning", words, "put a word before it in the application")]
    return []


def _look_at_index(cluster: Cluster, index: str, pipeline: Json) -> list[Finding]:
    found = []
    mappings = cluster.read(f"/{index}/_mapping")
    settings = cluster.read(f"/{index}/_settings/index.*?flat_settings=true")
    for name, body in mappings.items():  # an alias or a pattern may be several
        flat = settings.get(name, {}).get("settings", {})
        default = flat.get("index.search.default_pipeline")
        default = default if default not in (None, "_none") else None
        found += traps.index_traps(name, body.get("mappings", {}), flat, pipeline, default)
    return found
