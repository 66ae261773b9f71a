"""Find what earlier runs of the installer created in an OpenSearch cluster, and which pipelines use it. Only reads.

ML Commons stores its objects in indices whose mappings differ between versions: a name or an id may be analysed text or a
keyword. So the query only narrows the search, with words that match in both cases, and this module makes the exact comparison.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from connector.cluster import Cluster
from connector.opensearch.record import MARK, Record, read_record
from connector.opensearch.trust import Undo
from slimrank.errors import PipelineNotInstalled
from slimrank.types import Json

_MANY = 1000
_DEPLOYED = {"DEPLOYED", "DEPLOYING", "PARTIALLY_DEPLOYED"}


@dataclass(frozen=True, slots=True)
class Installation:
    """A connector that slimrank created, and the models behind it."""

    connector_id: str
    url: str
    record: Record
    models: dict[str, str] = field(default_factory=dict)
    """model_id -> name."""
    deployed: bool = False

    @property
    def model_id(self) -> str:
        """The model that searches use."""
        return next(iter(self.models))


def search(cluster: Cluster, kind: str, query: Json) -> list[Json]:
    """Search an index of ML Commons; ``kind`` is connectors, models, model_groups or tasks."""
    answer = cluster.find(f"/_plugins/_ml/{kind}/_search", {"query": query, "size": _MANY})
    return list(answer["hits"]["hits"]) if answer else []


def is_ours(source: Json) -> bool:
    """Tell whether a description has our mark."""
    return str(source.get("description", "")).startswith(MARK)


def _connectors(cluster: Cluster) -> list[Json]:
    """Return the hits of every connector with our mark, newest first."""
    found = [hit for hit in search(cluster, "connectors", {"match_phrase": {"description": MARK}}) if is_ours(hit["_source"])]
    return sorted(found, key=lambda hit: int(hit["_source"].get("created_time", 0)), reverse=True)


def find_installations(cluster: Cluster, name: str) -> list[Installation]:
    """Find the installations called ``name``, newest first; there are several if an upgrade kept the earlier one."""
    return [_read(cluster, hit) for hit in _connectors(cluster) if hit["_source"].get("name") == name]


def find_installation(cluster: Cluster, name: str) -> Installation | None:
    """Find the latest installation called ``name``; None if there is none."""
    return next(iter(find_installations(cluster, name)), None)


def _read(cluster: Cluster, hit: Json) -> Installation:
    source, models = hit["_source"], models_of(cluster, hit["_id"])
    return Installation(
        hit["_id"],
        source["actions"][0]["url"],
        read_record(source["description"]),
        {model["_id"]: model["_source"].get("name", "") for model in models},
        any(model["_source"].get("model_state") in _DEPLOYED for model in models),
    )


def models_of(cluster: Cluster, connector_id: str) -> list[Json]:
    """Return the hits of the models that use a connector."""
    found = search(cluster, "models", {"match": {"connector_id": connector_id}})
    return [model for model in found if model["_source"].get("connector_id") == connector_id]


def undos_beside(cluster: Cluster, installations: Iterable[Installation]) -> list[Undo]:
    """Return the undo records of all installations except these."""
    own = {each.connector_id for each in installations}
    return [read_record(hit["_source"]["description"]).undo for hit in _connectors(cluster) if hit["_id"] not in own]


def pipelines_using(cluster: Cluster, models: Iterable[str], *, but: str) -> dict[str, Json]:
    """Return the search pipelines, except ``but``, that name one of the models anywhere."""
    found = cluster.find("/_search/pipeline") or {}
    wanted = [json.dumps(model) for model in models]
    return {name: body for name, body in found.items() if name != but and any(each in json.dumps(body) for each in wanted)}


def require_installation(cluster: Cluster, name: str) -> Installation:
    """Return the latest installation called ``name``.

    Raises:
        PipelineNotInstalled: there is none.
    """
    installation = find_installation(cluster, name)
    if installation is None or not installation.models:
        raise PipelineNotInstalled(
            f"slimrank has installed nothing named {name!r} in this cluster; run `slimrank connect opensearch install`"
        )
    return installation
