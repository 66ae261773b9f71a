"""What earlier runs of the installer made in an OpenSearch cluster, and which pipelines use it. Reads only.

ML Commons keeps its own in indices whose mappings differ between versions: a name or an id may be analysed text or a keyword.
So a query only narrows the search, by words that match either way, and the exact comparison is made here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connector.cluster import Cluster
from connector.record import MARK, Record, read_record
from connector.trust import Undo
from slimrank.errors import PipelineNotInstalled

Json = dict[str, Any]

_MANY = 1000
_DEPLOYED = {"DEPLOYED", "DEPLOYING", "PARTIALLY_DEPLOYED"}


@dataclass(frozen=True, slots=True)
class Installation:
    """One connector of ours, and what hangs on it."""

    connector_id: str
    url: str
    record: Record
    models: dict[str, str] = field(default_factory=dict)
    """model_id -> name."""
    deployed: bool = False

    @property
    def model_id(self) -> str:
        """The model that searches are led to."""
        return next(iter(self.models))


def search(cluster: Cluster, kind: str, query: Json) -> list[Json]:
    """Return the hits among ML Commons' own: `kind` is connectors, models, model_groups or tasks."""
    answer = cluster.find(f"/_plugins/_ml/{kind}/_search", {"query": query, "size": _MANY})
    return list(answer["hits"]["hits"]) if answer else []


def is_ours(source: Json) -> bool:
    """Tell whether a description carries our mark."""
    return str(source.get("description", "")).startswith(MARK)


def _connectors(cluster: Cluster) -> list[Json]:
    """Return the hits of every connector that carries our mark, the newest first."""
    found = [hit for hit in search(cluster, "connectors", {"match_phrase": {"description": MARK}}) if is_ours(hit["_source"])]
    return sorted(found, key=lambda hit: int(hit["_source"].get("created_time", 0)), reverse=True)


def find_installations(cluster: Cluster, name: str) -> list[Installation]:
    """Find what was made under `name`, the newest first; more than one where an upgrade left the earlier one in place."""
    return [_read(cluster, hit) for hit in _connectors(cluster) if hit["_source"].get("name") == name]


def find_installation(cluster: Cluster, name: str) -> Installation | None:
    """Find what was made last under `name`; None if nothing was."""
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
    """Return the hits of the models behind a connector."""
    found = search(cluster, "models", {"match": {"connector_id": connector_id}})
    return [model for model in found if model["_source"].get("connector_id") == connector_id]


def undos_beside(cluster: Cluster, installations: Iterable[Installation]) -> list[Undo]:
    """Return what other installations than these note to undo."""
    own = {each.connector_id for each in installations}
    return [read_record(hit["_source"]["description"]).undo for hit in _connectors(cluster) if hit["_id"] not in own]


def pipelines_using(cluster: Cluster, models: Iterable[str], *, but: str) -> dict[str, Json]:
    """Return the search pipelines, other than `but`, that name one of the models anywhere."""
    found = cluster.find("/_search/pipeline") or {}
    wanted = [json.dumps(model) for model in models]
    return {name: body for name, body in found.items() if name != but and any(each in json.dumps(body) for each in wanted)}


def require_installation(cluster: Cluster, name: str) -> Installation:
    """Return what was installed last under `name`.

    Raises:
        PipelineNotInstalled: nothing was.
    """
    installation = find_installation(cluster, name)
    if installation is None or not installation.models:
        raise PipelineNotInstalled(
            f"nothing named {name!r} was made by slimrank in this cluster; run `slimrank connect opensearch install`"
        )
    return installation
