"""Install, check, install again, remove: on our stand-in with real mappings, and on a real cluster if one is named."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from connector.opensearch.check import check
from connector.opensearch.deep_check import deep
from connector.opensearch.install import InstallPlan, install, remove
from slimrank.errors import ConfigError, EngineRefused
from slimrank.types import Json
from tests.connector.fake_gateway import Gateway, overlap_gateway
from tests.connector.sites import NAME, Site, real, stand_in

NORMALISE = {"normalization-processor": {"normalization": {"technique": "l2"}}}
RENAME: Json = {"rename_field": {"field": "a", "target_field": "b", "ignore_missing": True}}


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.engine)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "stand-in":
        yield stand_in()
    else:
        with real(request.getfixturevalue("opensearch")) as site:
            yield site


def _plan(site: Site) -> InstallPlan:
    return InstallPlan(site.gateway_url, ["text"], name=NAME)


def _install(site: Site, plan: InstallPlan) -> list[str]:
    return install(site.cluster(), plan)


def _remove(site: Site) -> list[str]:
    return remove(site.cluster(), name=NAME)


def _model_of(pipeline: Json) -> str:
    return next(part["rerank"]["ml_opensearch"]["model_id"] for part in pipeline["response_processors"] if "rerank" in part)


def _fails(site: Site, plan: InstallPlan, words: str, kind: type[Exception] = EngineRefused) -> None:
    """Check that install fails with these words and changes nothing."""
    before = site.state()
    with pytest.raises(kind, match=words):
        _install(site, plan)
    assert site.state() == before


def test_an_installation_is_found_updated_and_removed_completely(site: Site) -> None:
    before = site.state()
    _install(site, _plan(site))
    assert [finding.state for finding in check(site.cluster(), name=NAME)] == ["ok"] * 5
    assert not [finding for finding in deep(site.cluster(), name=NAME) if finding.state == "fault"]
    install(again := site.cluster(), _plan(site))
    assert again.calls == []
    first = _model_of(site.pipeline())
    _install(site, replace(_plan(site), read_timeout_seconds=7))
    assert site.held("models") == [_model_of(site.pipeline())] != [first]
    assert len(site.held("connectors")) == 1
    assert [finding.state for finding in check(site.cluster(), name=NAME)] == ["ok"] * 5
    assert _remove(site)[-1] == "restored the settings"
    assert site.state() == before


@pytest.mark.parametrize("gateway", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_an_address_without_a_gateway_is_not_installed(site: Site, gateway: str) -> None:
    words = {"http://127.0.0.1:1": "nothing listens", "http://no-such-host.invalid": "cannot resolve the gateway's host"}[gateway]
    _fails(site, replace(_plan(site), gateway=gateway), words)
    _install(site, _plan(site))
    _fails(site, replace(_plan(site), gateway=gateway), words)


def _degraded(payload: Json) -> tuple[int, str]:
    results = [{"index": index, "relevance_score": -1000.0 - index} for index in range(len(payload["documents"]))]
    return 200, json.dumps({"results": results})


@pytest.mark.parametrize(
    ("gateway", "words"),
    [
        (lambda payload: (401, '{"message": "no key"}'), "the gateway answered an error .*no key"),
        (lambda payload: (200, '{"results": []}'), "scores"),
        (_degraded, "could not score"),
    ],
)
def test_searches_are_not_switched_to_a_gateway_that_does_not_score(site: Site, gateway: Gateway, words: str) -> None:
    site.gateway = gateway
    _fails(site, _plan(site), words)
    site.gateway = overlap_gateway
    _install(site, _plan(site))
    site.gateway = gateway
    _fails(site, replace(_plan(site), read_timeout_seconds=7), words)
    _fails(site, _plan(site), words)  # even if the plan is unchanged


def test_a_key_is_kept_or_must_be_given_again_and_is_not_overwritten(site: Site) -> None:
    with_key = replace(_plan(site), api_key="hunter2")
    _install(site, with_key)
    _install(site, _plan(site))
    for plan in (replace(_plan(site), read_timeout_seconds=7), replace(_plan(site), replace=True)):
        _fails(site, plan, "give the key again with --api-key", ConfigError)
    _install(site, replace(with_key, read_timeout_seconds=7))
    _install(site, replace(with_key, read_timeout_seconds=8, api_key="none"))
    _install(site, replace(_plan(site), read_timeout_seconds=9))
    assert len(site.held("connectors")) == 1


def test_a_model_is_kept_while_a_users_pipeline_uses_it(site: Site) -> None:
    before = site.state()
    _install(site, _plan(site))
    first = site.pipeline()
    site.send("PUT", "/_search/pipeline/mine", {"response_processors": first["response_processors"]})
    lines = _install(site, replace(_plan(site), read_timeout_seconds=7))
    assert any(f"kept the earlier model {_model_of(first)}, which the search pipeline mine uses" in line for line in lines)
    assert len(site.held("models")) == 2
    with pytest.raises(EngineRefused, match="whose model the search pipeline mine uses"):
        _remove(site)
    assert site.pipeline() != first
    site.send("PUT", "/_search/pipeline/mine", {"response_processors": site.pipeline()["response_processors"]})
    assert any("removed the earlier connector" in line for line in _install(site, replace(_plan(site), read_timeout_seconds=7)))
    assert site.held("models") == [_model_of(site.pipeline())]
    site.send("DELETE", "/_search/pipeline/mine")
    _remove(site)
    assert site.state() == before


def test_processors_that_others_added_to_our_pipeline_are_kept(site: Site) -> None:
    _install(site, _plan(site))
    ours = site.pipeline()
    rerank, truncate = ours["response_processors"]
    theirs = {**ours, "phase_results_processors": [NORMALISE], "response_processors": [RENAME, rerank, RENAME, truncate]}
    site.send("PUT", f"/_search/pipeline/{NAME}", theirs)
    install(again := site.cluster(), _plan(site))
    assert again.calls == []
    lines = _install(site, replace(_plan(site), fields=["title"], read_timeout_seconds=7))
    assert any("kept normalization-processor, rename_field" in line for line in lines)
    found = site.pipeline()
    assert found["phase_results_processors"] == [NORMALISE]
    assert [next(iter(part)) for part in found["response_processors"]] == [
        "rename_field",
        "rerank",
        "rename_field",
        "truncate_hits",
    ]
    assert found["response_processors"][1]["rerank"]["context"]["document_fields"] == ["title"]
    assert any("normalization-processor" in line for line in _remove(site))


def test_a_pipeline_for_hybrid_queries_normalises_before_it_reranks(site: Site) -> None:
    _install(site, _plan(site))
    _install(site, replace(_plan(site), hybrid=True))
    made = site.pipeline()
    assert [next(iter(part)) for part in made["phase_results_processors"]] == ["normalization-processor"]
    assert check(site.cluster(), name=NAME)[-1].state == "ok"
    _install(site, _plan(site))
    assert site.pipeline() == made


def test_leftover_installations_of_an_earlier_version_are_removed(site: Site) -> None:
    before = site.state()
    _install(site, _plan(site))
    connector = site.send("GET", f"/_plugins/_ml/connectors/{site.held('connectors')[0]}")
    kept = {key: value for key, value in connector.items() if not key.endswith("_time")}
    again = site.send("POST", "/_plugins/_ml/connectors/_create", {**kept, "credential": {"api_key": "none"}})["connector_id"]
    model = {"name": "left", "function_name": "remote", "description": "Made by slimrank connect.", "connector_id": again}
    site.send("POST", "/_plugins/_ml/models/_register", model)
    _install(site, _plan(site))
    assert len(site.held("connectors")) == len(site.held("models")) == 1
    _remove(site)
    assert site.state() == before


def test_a_pipeline_with_another_name_is_removed_with_its_model(site: Site) -> None:
    before = site.state()
    _install(site, replace(_plan(site), pipeline="slimrank-other"))
    assert any("removed the pipeline slimrank-other" in line for line in _remove(site))
    assert site.state() == before
