"""Least-privilege roles for OpenSearch's security plugin: one for installing and checking, one for searching.

The permissions are the names of the actions that the installer's calls and searches run, without wildcards over whole APIs.
The operator maps users to the roles.
"""

from connector.cluster import Cluster, Refusal
from slimrank.errors import PipelineNotInstalled
from slimrank.types import Json

_ML = "cluster:admin/opensearch/ml/"

INSTALLER: Json = {
    "cluster_permissions": [
        "cluster:monitor/main",
        "cluster:monitor/nodes/info",
        "cluster:monitor/state",
        "cluster:admin/settings/update",
        "cluster:admin/search/pipeline/get",
        "cluster:admin/search/pipeline/put",
        "cluster:admin/search/pipeline/delete",
        *(
            _ML + action
            for action in (
                "create_connector",
                "connectors/get",
                "connectors/search",
                "connectors/delete",
                "register_model",
                "deploy_model",
                "undeploy_model",
                "undeploy_models",
                "models/get",
                "models/search",
                "models/delete",
                "model_groups/search",
                "model_groups/delete",
                "tasks/get",
                "tasks/search",
                "tasks/delete",
                "predict",
            )
        ),
    ],
    "index_permissions": [
        {"index_patterns": ["*"], "allowed_actions": ["indices:monitor/settings/get", "indices:admin/mappings/get"]},
        {
            "index_patterns": ["slimrank-check-*"],
            "allowed_actions": [
                "indices:admin/create",
                "indices:admin/auto_create",
                "indices:admin/mapping/auto_put",
                "indices:admin/mapping/put",
                "indices:admin/delete",
                "indices:data/write/index",
                "indices:data/write/bulk*",
                "indices:data/read/search",
            ],
        },
    ],
}
SEARCHER: Json = {"cluster_permissions": [_ML + "predict"]}
"""Needed in addition to read access to the index: the rerank processor calls the model with the rights of the searching user."""


def install_roles(cluster: Cluster, *, name: str = "slimrank") -> list[str]:
    """Create or update the roles NAME_installer and NAME_searcher; return what was done.

    Raises:
        PipelineNotInstalled: the cluster has no security plugin.
    """
    for role, body in ((f"{name}_installer", INSTALLER), (f"{name}_searcher", SEARCHER)):
        _call(cluster, "PUT", role, body)
    return [
        f"role {name}_installer: for whoever runs `slimrank connect opensearch`",
        f"role {name}_searcher: for users whose searches are reranked; they also need read access to the index",
    ]


def remove_roles(cluster: Cluster, *, name: str = "slimrank") -> list[str]:
    """Remove the two roles; return what was done."""
    for role in (f"{name}_installer", f"{name}_searcher"):
        _call(cluster, "DELETE", role, None)
    return [f"removed the roles {name}_installer and {name}_searcher"]


def _call(cluster: Cluster, method: str, role: str, body: Json | None) -> None:
    try:
        cluster.write(method, f"/_plugins/_security/api/roles/{role}", body)
    except Refusal as refusal:
        if refusal.status == 404 and method == "DELETE":
            return
        if "no handler" in refusal.reason:
            raise PipelineNotInstalled("this cluster has no security plugin, so it needs no roles") from refusal
        raise
