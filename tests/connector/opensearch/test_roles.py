"""The security roles have exactly the permissions that the installer and a search need."""

import json

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.cluster import Cluster
from connector.opensearch.roles import INSTALLER, SEARCHER, install_roles
from slimrank.errors import PipelineNotInstalled
from tests.connector.contracts import as_contract, contract
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving
from tests.nodes.ml_commons import MlCommons

_ML = "org.opensearch.ml.common.transport."
# The transport actions of the REST calls of install, check and remove.
CLASSES = [
    _ML + "connector.MLCreateConnectorAction",
    _ML + "connector.MLConnectorGetAction",
    _ML + "connector.MLConnectorSearchAction",
    _ML + "connector.MLConnectorDeleteAction",
    _ML + "register.MLRegisterModelAction",
    _ML + "deploy.MLDeployModelAction",
    _ML + "undeploy.MLUndeployModelAction",
    _ML + "undeploy.MLUndeployModelsAction",
    _ML + "model.MLModelGetAction",
    _ML + "model.MLModelSearchAction",
    _ML + "model.MLModelDeleteAction",
    _ML + "model_group.MLModelGroupSearchAction",
    _ML + "model_group.MLModelGroupDeleteAction",
    _ML + "task.MLTaskGetAction",
    _ML + "task.MLTaskSearchAction",
    _ML + "task.MLTaskDeleteAction",
    _ML + "prediction.MLPredictionTaskAction",
    "org.opensearch.action.main.MainAction",
    "org.opensearch.action.admin.cluster.node.info.NodesInfoAction",
    "org.opensearch.action.admin.cluster.state.ClusterStateAction",
    "org.opensearch.action.admin.cluster.settings.ClusterUpdateSettingsAction",
    "org.opensearch.action.search.GetSearchPipelineAction",
    "org.opensearch.action.search.PutSearchPipelineAction",
    "org.opensearch.action.search.DeleteSearchPipelineAction",
]


@pytest.mark.engine
def test_the_installers_permissions_are_the_actions_of_its_calls(ml_commons: MlCommons) -> None:
    results = ml_commons.run([{"op": "action", "class": name} for name in CLASSES])
    assert {result["ok"] for result in results} == set(INSTALLER["cluster_permissions"])


def test_no_role_has_a_wildcard_over_an_api() -> None:
    for role in (INSTALLER, SEARCHER):
        assert not [permission for permission in role["cluster_permissions"] if "*" in permission]


def test_the_roles_equal_the_contract() -> None:
    cluster = Cluster(FakeOpenSearch(roles={}).client())
    install_roles(cluster)
    assert as_contract(cluster.calls) == contract("opensearch-roles")


def test_the_command_makes_and_removes_the_roles() -> None:
    fake = FakeOpenSearch(roles={})
    with serving(fake.answer) as url:
        for words, left in (([], {"slimrank_installer", "slimrank_searcher"}), (["--remove"], set()), (["--remove"], set())):
            result = CliRunner().invoke(app, ["opensearch", "roles", "--url", url, *words, "--json"])
            assert result.exit_code == 0, result.output
            assert len(json.loads(result.output)["calls"]) == 2
            assert set(fake.roles or ()) == left


def test_a_cluster_without_the_security_plugin_needs_no_roles() -> None:
    with pytest.raises(PipelineNotInstalled, match="no security plugin"):
        install_roles(Cluster(FakeOpenSearch().client()))
