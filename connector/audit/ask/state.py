"""Read the state of a side: cluster, indices, settings, mappings, counts, and a fingerprint that shows later changes.

``read_state`` only reads. The fingerprint is made from index uuids, sequence numbers and alias targets. So any write to an index
and any move of its alias change it; refreshes and merges do not.
"""

from connector.audit.ask.access import Reached
from connector.audit.folder import digest
from slimrank.types import Json


def read_state(reached: Reached) -> Json:
    """Return the present state of a side.

    Raises:
        EngineError: the cluster does not answer, or has no such index.
    """
    side, cluster = reached.side, reached.cluster
    root = cluster.read("/")
    indices = cluster.read(f"/{side.index}?flat_settings=true")
    shards = cluster.read(f"/{side.index}/_stats/docs,store,segments?level=shards")["indices"]
    described = {name: _index(index, shards[name]) for name, index in sorted(indices.items())}
    state: Json = {
        "asked": side.index,
        "cluster": root.get("cluster_name"),
        "distribution": root.get("version", {}).get("distribution", "elasticsearch"),
        "version": root.get("version", {}).get("number"),
        "indices": described,
        "pipeline": cluster.find(f"/_search/pipeline/{reached.pipeline}") if reached.pipeline else None,
    }
    if side.rerank and reached.scorer:
        state["ranker"] = {"model": side.rerank.model} | reached.scorer.identify()
    return state | {"fingerprint": fingerprint(state)}


def _index(index: Json, stats: Json) -> Json:
    primaries = stats["primaries"]
    copies = {
        number: next((copy["seq_no"]["max_seq_no"] for copy in copies if copy["routing"]["primary"]), None)
        for number, copies in sorted(stats["shards"].items())
    }
    return {
        "uuid": index["settings"].get("index.uuid"),
        "settings": index["settings"],
        "mappings": index["mappings"],
        "aliases": sorted(index.get("aliases", {})),
        "documents": primaries["docs"]["count"],
        "deleted": primaries["docs"]["deleted"],
        "shards": len(copies),
        "max_seq_no": copies,
    }


def fingerprint(state: Json) -> str:
    """Return a hash that changes if the side's content, alias, pipeline or reranking model changes."""
    indices = {
        name: {field: index[field] for field in ("uuid", "max_seq_no", "documents")} for name, index in state["indices"].items()
    }
    analysis = {name: [index["mappings"], _lasting(index["settings"])] for name, index in state["indices"].items()}
    ranker = [state["ranker"]] if "ranker" in state else []
    return digest([state["asked"], indices, analysis, state["pipeline"], *ranker])


def _lasting(settings: Json) -> Json:
    """Remove settings that no ranking depends on, so that an audit stays valid if the number of replicas is raised later."""
    return {name: value for name, value in settings.items() if not is_harmless(name)}


_HARMLESS = (
    "index.number_of_replicas", "index.auto_expand_replicas", "index.refresh_interval", "index.uuid", "index.creation_date",
    "index.provided_name", "index.version.", "index.routing.allocation.", "index.translog.", "index.blocks.", "index.merge.",
    "index.codec", "index.search.slowlog.", "index.indexing.slowlog.", "index.lifecycle.", "index.plugins.index_state_management.",
    "index.priority", "index.unassigned.", "index.replication.", "index.max_result_window", "index.resize.", "index.write.",
    "index.mapping.total_fields.", "index.soft_deletes.", "index.gc_deletes", "index.flush_after_merge", "index.hidden",
)  # fmt: skip


def is_harmless(setting: str) -> bool:
    """Tell whether a setting cannot change a ranking."""
    return setting.startswith(_HARMLESS)
