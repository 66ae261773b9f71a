"""Installing into OpenSearch: the calls, repeated installs, and a removal that leaves nothing."""

import copy
import json
import re
from dataclasses import replace

import pytest

from connector.cluster import Cluster
from connector.opensearch.install import InstallPlan, install, remove
from connector.opensearch.installation import find_installation
from slimrank.errors import ConfigError, EngineRefused, PipelineNotInstalled
from tests.connector.contracts import as_contract, contract
from tests.connector.fake_gateway import Refused
from tests.connector.fake_opensearch import FakeOpenSearch

PLAN = InstallPlan("http://127.0.0.1:8080", ["title", "body"])
PUBLIC = replace(PLAN, gateway="http://93.184.215.14:8080")


def _state(fake: FakeOpenSearch) -> object:
    return copy.deepcopy((fake.settings, fake.connectors, fake.models, fake.groups, fake.tasks, fake.pipelines, fake.indices))


@pytest.mark.parametrize(
    ("version", "plan", "name"),
    [
        ("2.12.0", PUBLIC, "opensearch-2.12-install"),
        ("2.19.0", PLAN, "opensearch-2.15-install"),
        ("3.5.0", PLAN, "opensearch-2.15-install"),
        ("3.7.0", PLAN, "opensearch-3.7-install"),
    ],
)
def test_each_version_gets_the_calls_of_its_contract(version: str, plan: InstallPlan, name: str) -> None:
    cluster = Cluster(FakeOpenSearch(version).client())
    install(cluster, plan)
    assert as_contract(cluster.calls) == contract(name)


def test_the_calls_of_a_removal_equal_the_contract() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    cluster = Cluster(fake.client())
    remove(cluster)
    assert as_contract(cluster.calls) == contract("opensearch-remove")


def test_a_second_install_changes_nothing() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    again = Cluster(fake.client())
    lines = install(again, PLAN)
    assert again.calls == []
    assert any("up to date" in line for line in lines)


@pytest.mark.parametrize("version", ["2.15.0", "3.5.0", "3.7.0"])
def test_install_and_remove_restore_the_cluster(version: str) -> None:
    fake = FakeOpenSearch(version)
    before = _state(fake)
    install(Cluster(fake.client()), PLAN)
    assert _state(fake) != before
    remove(Cluster(fake.client()))
    assert _state(fake) == before


def test_a_users_settings_are_appended_to_and_restored() -> None:
    fake = FakeOpenSearch("3.7.0")
    name = "plugins.ml_commons.trusted_connector_endpoints_regex"
    fake.settings["transient"][name] = ["^https://mine/.*$"]
    fake.settings["persistent"]["plugins.ml_commons.connector.private_ip_enabled"] = "false"
    before = _state(fake)
    install(Cluster(fake.client()), PLAN)
    assert fake.setting("trusted_connector_endpoints_regex") == ["^https://mine/.*$", r"^http://127\.0\.0\.1:8080/.*$"]
    remove(Cluster(fake.client()))
    assert _state(fake) == before


def test_later_entries_of_others_are_kept() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    name = "plugins.ml_commons.trusted_connector_endpoints_regex"
    fake.settings["persistent"][name].append("^https://later/.*$")
    remove(Cluster(fake.client()))
    assert "^https://later/.*$" in fake.settings["persistent"][name]
    assert r"^http://127\.0\.0\.1:8080/.*$" not in fake.settings["persistent"][name]


def test_an_empty_private_list_stays_empty_if_private_addresses_were_allowed() -> None:
    fake = FakeOpenSearch("3.7.0")
    fake.settings["persistent"]["plugins.ml_commons.connector.private_ip_enabled"] = "true"
    install(Cluster(fake.client()), PLAN)
    assert fake.setting("trusted_connector_private_endpoints_regex") == []


def test_an_upgrade_never_leaves_the_pipeline_without_a_model() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    upgrade = Cluster(fake.client())
    install(upgrade, replace(PLAN, gateway="http://127.0.0.1:9090", read_timeout_seconds=9))
    assert as_contract(upgrade.calls) == contract("opensearch-upgrade")
    assert len(fake.connectors) == len(fake.models) == 1
    assert fake.setting("trusted_connector_endpoints_regex")[-1] == r"^http://127\.0\.0\.1:9090/.*$"
    remove(Cluster(fake.client()))
    assert fake.settings == {"persistent": {}, "transient": {}}


def test_a_change_of_fields_only_changes_the_pipeline() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    again = Cluster(fake.client())
    install(again, replace(PLAN, fields=["body"]))
    assert [f"{call.method} {call.path}" for call in again.calls] == ["PUT /_search/pipeline/slimrank"]


def test_two_installations_live_side_by_side() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    install(Cluster(fake.client()), replace(PLAN, name="second"))
    lines = remove(Cluster(fake.client()))
    assert "kept the settings that other installations need" in lines
    assert find_installation(Cluster(fake.client()), "second") is not None
    assert list(fake.pipelines) == ["second"]


@pytest.mark.parametrize("order", [("slimrank", "second"), ("second", "slimrank")])
@pytest.mark.parametrize("second_url", ["http://127.0.0.1:8080", "http://127.0.0.1:9090", "http://93.184.215.14:8080"])
@pytest.mark.parametrize("version", ["3.5.0", "3.7.0"])
def test_removing_the_last_of_several_installations_restores_the_cluster(
    version: str, second_url: str, order: tuple[str, str]
) -> None:
    fake = FakeOpenSearch(version)
    before = _state(fake)
    install(Cluster(fake.client()), PLAN)
    install(Cluster(fake.client()), replace(PLAN, name="second", gateway=second_url))
    again = Cluster(fake.client())
    install(again, PLAN)
    assert again.calls == []
    remove(Cluster(fake.client()), name=order[0])
    left = fake.setting("trusted_connector_endpoints_regex")
    assert (r"^http://127\.0\.0\.1:8080/.*$" in left) is (order[1] == "slimrank" or second_url == PLAN.gateway)
    remove(Cluster(fake.client()), name=order[1])
    assert _state(fake) == before


def test_an_address_stays_trusted_while_another_installation_calls_it() -> None:
    fake = FakeOpenSearch()
    before = _state(fake)
    install(Cluster(fake.client()), PLAN)
    install(Cluster(fake.client()), replace(PLAN, name="second"))
    install(Cluster(fake.client()), replace(PLAN, gateway="http://127.0.0.1:9090"))
    assert r"^http://127\.0\.0\.1:8080/.*$" in fake.setting("trusted_connector_endpoints_regex")
    remove(Cluster(fake.client()), name="second")
    assert fake.setting("trusted_connector_endpoints_regex")[2:] == [r"^http://127\.0\.0\.1:9090/.*$"]
    remove(Cluster(fake.client()))
    assert _state(fake) == before


def test_a_cluster_without_oversample_gets_a_pipeline_without_oversample() -> None:
    fake = FakeOpenSearch(has_oversample=False)
    install(Cluster(fake.client()), PLAN)
    assert "request_processors" not in fake.pipelines["slimrank"]


def test_install_waits_for_a_slow_deployment() -> None:
    fake = FakeOpenSearch(deploys_slowly=True)
    install(Cluster(fake.client()), PLAN)
    assert ("GET", f"/_plugins/_ml/tasks/{list(fake.tasks)[-1]}") in fake.log


def test_after_a_failure_half_way_everything_is_removed() -> None:
    class FailsToDeploy(FakeOpenSearch):
        def _deploy(self, id: str, body: object) -> object:
            raise Refused(500, "no eligible node")

    fake = FailsToDeploy()
    before = _state(fake)
    with pytest.raises(EngineRefused, match="no eligible node"):
        install(Cluster(fake.client()), PLAN)
    assert _state(fake) == before


def test_a_dry_run_sends_no_write_and_shows_every_call() -> None:
    fake = FakeOpenSearch()
    before = _state(fake)
    cluster = Cluster(fake.client(), dry_run=True)
    install(cluster, PLAN)
    assert _state(fake) == before
    wet = json.dumps(contract("opensearch-2.15-install"))
    wet = wet.replace("Connector-001", "<CONNECTOR_ID>").replace("Model-003", "<MODEL_ID>")
    assert as_contract(cluster.calls) == json.loads(wet)


def test_a_users_own_pipeline_is_not_overwritten_and_not_removed() -> None:
    fake = FakeOpenSearch()
    fake.pipelines["slimrank"] = {"response_processors": []}
    for work in (lambda: install(Cluster(fake.client()), PLAN), lambda: remove(Cluster(fake.client()))):
        with pytest.raises(EngineRefused, match="was not made by slimrank"):
            work()
    assert fake.pipelines["slimrank"] == {"response_processors": []}
    assert fake.settings == {"persistent": {}, "transient": {}}


def test_a_pipeline_that_an_index_needs_is_not_removed() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), PLAN)
    fake.indices["shop"] = {"documents": {}, "settings": {"index.search.default_pipeline": "slimrank"}, "mappings": {}}
    with pytest.raises(EngineRefused, match=r"default_pipeline of shop"):
        remove(Cluster(fake.client()))


def test_removing_nothing_is_reported() -> None:
    assert remove(Cluster(FakeOpenSearch().client())) == ["slimrank has installed nothing named 'slimrank' here"]


@pytest.mark.parametrize(
    ("fake", "plan", "words"),
    [
        (FakeOpenSearch(has_ml=False), PLAN, "lacks opensearch-ml .* and opensearch-neural-search"),
        (FakeOpenSearch("2.11.1"), PLAN, "rerank processor came with 2.12"),
        (FakeOpenSearch("2.13.0"), PLAN, "private address, which OpenSearch 2.13.0 never calls"),
    ],
)
def test_an_unsuitable_cluster_is_refused_with_the_reason_and_not_changed(
    fake: FakeOpenSearch, plan: InstallPlan, words: str
) -> None:
    cluster = Cluster(fake.client())
    with pytest.raises(PipelineNotInstalled, match=words):
        install(cluster, plan)
    assert cluster.calls == []


@pytest.mark.parametrize("gateway", ["http://slm_rerank:8080", "slimrank:8080", "ftp://host", ""])
def test_a_gateway_that_the_engine_cannot_call_is_refused_at_once(gateway: str) -> None:
    with pytest.raises(ConfigError):
        install(Cluster(FakeOpenSearch().client()), replace(PLAN, gateway=gateway))


def test_a_changed_key_is_noticed_without_storing_the_key_or_its_hash() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), replace(PLAN, api_key="hunter2"))
    assert fake.connectors["Connector-001"]["credential"] == {"api_key": "hunter2"}
    for plan in (replace(PLAN, api_key="hunter2"), PLAN):  # the same key, and no key
        install(again := Cluster(fake.client()), plan)
        assert again.calls == []
    install(Cluster(fake.client()), replace(PLAN, api_key="other"))
    (connector,) = fake.connectors.values()
    assert connector["credential"] == {"api_key": "other"}
    noted = re.search(r" key (\w+) ", connector["description"])
    assert noted is not None
    assert len(noted[1]) == 3
