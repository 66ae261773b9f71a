"""``check --deep`` finds each known trap in an installation, an index and a sample search, and names the cure."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.cluster import Cluster
from connector.facts import Facts
from connector.opensearch import bodies
from connector.opensearch.deep_check import deep
from connector.opensearch.install import InstallPlan, install
from connector.opensearch.traps import (
    body_traps,
    connector_traps,
    field_type,
    index_traps,
    model_traps,
    msearch_traps,
    pipeline_traps,
)
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving

FACTS = Facts("opensearch", "3.5.0", frozenset(), frozenset())
PIPELINE = bodies.pipeline("m", fields=["body"], oversample=5, description="")
GOOD: dict[str, Any] = bodies.search("gold ring", "body", size=10)
MAPPING = {"properties": {"body": {"type": "text"}}}


def _names(findings: list[Any]) -> list[str]:
    assert all(finding.words and finding.cure for finding in findings)
    return [finding.name for finding in findings]


def _context(**context: Any) -> dict[str, Any]:
    return {**GOOD, "ext": {"rerank": {"query_context": context}}}


def test_a_connector_without_first_stage_order_is_found() -> None:
    body = bodies.connector("slimrank", "http://slimrank:8080/v1/rerank", model="m", api_key="k", description="")
    action = body["actions"][0]
    action["pre_process_function"] = action["pre_process_function"].replace('"first_stage_order": true, ', "")
    assert _names(connector_traps(body)) == ["first stage"]


def test_a_connector_whose_request_is_filled_in_by_ml_commons_is_found() -> None:
    body = bodies.connector("slimrank", "http://slimrank:8080/v1/rerank", model="m", api_key="k", description="")
    action = body["actions"][0]
    action["pre_process_function"] = "connector.pre_process.cohere.rerank"
    action["request_body"] = '{"documents": ${parameters.documents}, "query": "${parameters.query}", "first_stage_order": true}'
    assert _names(connector_traps(body)) == ["placeholder"]


def test_a_good_search_pipeline_and_index_have_no_trap() -> None:
    assert body_traps(GOOD, PIPELINE) == []
    assert body_traps(_context(query_text_path="query.match.body.query"), PIPELINE) == []
    assert pipeline_traps(FACTS, PIPELINE) == []
    assert index_traps("i", MAPPING, {}, PIPELINE, None) == []
    body = bodies.connector("slimrank", "http://slimrank:8080/v1/rerank", model="m", api_key="k", description="")
    assert connector_traps(body) == []
    assert model_traps({"name": "slimrank"}) == []
    assert msearch_traps([{"index": "i"}, {**GOOD, "search_pipeline": "slimrank"}]) == []


@pytest.mark.parametrize(
    ("search", "name"),
    [
        ({"query": {"match": {"body": "gold"}}}, "ext.rerank"),
        (_context(), "query_context"),
        (_context(query_text="a", query_text_path="query.match.body.query"), "query_context"),
        (_context(query_text_path="query.match.title.query"), "query_text_path"),
        (_context(query_text_path="query.match.body"), "query_text_path"),
        (_context(query_text_path="x" * 1001), "query_text_path"),
        ({"id": "stored", "params": {"q": "gold"}}, "search template"),
        ({"source": '{"query": {}}', "params": {"q": "gold"}}, "search template"),
        ({**GOOD, "size": 0}, "size 0"),
        ({**GOOD, "from": 10}, "paging"),
        ({**GOOD, "search_after": [1.5]}, "search_after"),
        ({**GOOD, "scroll": "1m"}, "scroll"),
        ({**GOOD, "track_total_hits": False}, "totals"),
        ({**GOOD, "sort": [{"price": "asc"}]}, "sort"),
        ({**GOOD, "_source": False}, "_source filter"),
        ({**GOOD, "_source": ["title"]}, "_source filter"),
        ({**GOOD, "_source": "ti*"}, "_source filter"),
        ({**GOOD, "_source": {"excludes": ["b*"]}}, "_source filter"),
    ],
)
def test_a_trap_in_a_search_is_found(search: dict[str, Any], name: str) -> None:
    assert _names(body_traps(search, PIPELINE)) == [name]


@pytest.mark.parametrize(
    "extra",
    [{"_source": ["body"]}, {"_source": "b*"}, {"_source": False, "fields": ["body"]}, {"_source": {"excludes": ["title"]}}],
)
def test_a_filter_that_keeps_the_field_is_not_a_trap(extra: dict[str, Any]) -> None:
    assert body_traps({**GOOD, **extra}, PIPELINE) == []


def test_the_cure_for_a_missing_context_contains_the_searchs_text() -> None:
    (finding,) = body_traps({"query": {"match": {"body": "gold"}}}, PIPELINE)
    assert '"query_text": "gold"' in finding.cure


@pytest.mark.parametrize(
    ("size", "window", "is_beyond"), [(10, 50, False), (11, 50, True), (5000, 10_000, False), (20_000, 10_000, True)]
)
def test_a_window_larger_than_the_index_returns_is_found_by_the_requested_size(size: int, window: int, is_beyond: bool) -> None:
    found = index_traps("i", MAPPING, {"index.max_result_window": str(window)}, PIPELINE, None, size)
    assert _names(found) == ["window"] * is_beyond


def test_later_pages_are_a_fault_or_a_warning_depending_on_the_pipeline() -> None:
    later = {**GOOD, "from": 10}
    refused = body_traps(later, PIPELINE)
    apart = body_traps(later, bodies.pipeline("m", fields=["body"], oversample=1, description=""))
    old = {**PIPELINE, "request_processors": [{"oversample": {"sample_factor": 5}}]}
    assert [(each.state, "refuses" in each.words) for each in (*refused, *apart)] == [("fault", True), ("warning", False)]
    assert "repeat some hits and lose others" in body_traps(later, old)[0].words
    assert _names(pipeline_traps(FACTS, old)) == ["oversampling"]


def test_traps_in_a_pipeline_are_found() -> None:
    twice = {**PIPELINE, "response_processors": PIPELINE["response_processors"][:1] * 2}
    assert _names(pipeline_traps(FACTS, twice)) == ["two rerankers", "joined fields"]
    loud = bodies.pipeline("m", fields=["body"], oversample=1, description="", ignore_failure=False)
    assert _names(pipeline_traps(FACTS, loud)) == ["loud failures"]
    nested = bodies.pipeline("m", fields=["maker.name"], oversample=1, description="")
    assert _names(pipeline_traps(FACTS, nested)) == ["nested fields"]
    assert pipeline_traps(Facts("opensearch", "3.6.0", frozenset(), frozenset()), nested) == []


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, ["connection_timeout", "read_timeout"]),
        ({"connection_timeout": 2, "read_timeout": 2000}, ["read_timeout"]),
        ({"connection_timeout": 2, "read_timeout": 5, "max_retry_times": 3}, ["retries"]),
    ],
)
def test_traps_in_a_connector_are_found(config: dict[str, int], names: list[str]) -> None:
    assert _names(connector_traps({"client_config": config, "actions": [{"url": "http://a/v1/rerank"}]})) == names


def test_an_underscore_in_the_host_is_found() -> None:
    config = {"connection_timeout": 2, "read_timeout": 5}
    assert _names(connector_traps({"client_config": config, "actions": [{"url": "http://a_b:80/"}]})) == ["host name"]


def test_traps_in_a_model_are_found() -> None:
    model = {"guardrails": {"type": "local"}, "rate_limiter": {"limit": "4"}, "is_enabled": False}
    assert _names(model_traps(model)) == ["guardrails", "rate limiter", "model"]


@pytest.mark.parametrize(
    ("mapping", "settings", "default", "name"),
    [
        ({"properties": {}}, {}, None, "missing field"),
        ({**MAPPING, "_source": {"enabled": False}}, {}, None, "source"),
        ({**MAPPING, "_source": {"excludes": ["body"]}}, {}, None, "source"),
        ({**MAPPING, "_source": {"includes": ["title"]}}, {}, None, "source"),
        (MAPPING, {"index.max_result_window": "49"}, None, "window"),
        (MAPPING, {}, "slimrank", "default pipeline"),
    ],
)
def test_a_trap_in_an_index_is_found(mapping: dict[str, Any], settings: dict[str, Any], default: str | None, name: str) -> None:
    assert _names(index_traps("i", mapping, settings, PIPELINE, default)) == [name]


def test_sub_fields_and_objects_are_found_in_a_mapping() -> None:
    mapping = {
        "properties": {
            "a": {"properties": {"b": {"type": "keyword"}}},
            "t": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        }
    }
    assert [field_type(mapping, name) for name in ("a.b", "t.raw", "a", "a.c", "x.y")] == [
        "keyword",
        "keyword",
        "object",
        None,
        None,
    ]


def test_a_pipeline_in_an_msearch_header_is_found() -> None:
    assert _names(msearch_traps([{"index": "i", "search_pipeline": "slimrank"}, GOOD])) == ["_msearch"]


def test_all_parts_of_a_live_cluster_are_checked() -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), InstallPlan("http://127.0.0.1:8080", ["body"]))
    fake.indices["shop"] = {"documents": {}, "mappings": MAPPING, "settings": {"index.search.default_pipeline": "slimrank"}}
    found = deep(Cluster(fake.client()), index="shop", searches=[{**GOOD, "size": 0}])
    assert _names(found[1:]) == ["default pipeline", "size 0"]
    assert (found[0].name, found[0].state) == ("paging", "ok")
    assert "scroll and search_after" in found[0].words


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (json.dumps({**GOOD, "size": 0}, indent=2), ["size 0"]),
        ('{"index": "i", "search_pipeline": "slimrank"}\n' + json.dumps(GOOD) + "\n", ["_msearch"]),
    ],
)
def test_the_command_reads_a_search_or_an_msearch_from_a_file(tmp_path: Path, text: str, names: list[str]) -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), InstallPlan("http://127.0.0.1:8080", ["body"]))
    path = tmp_path / "search.json"
    path.write_text(text)
    with serving(fake.answer) as url:
        result = CliRunner().invoke(app, ["opensearch", "check", "--url", url, "--deep", "--body", str(path), "--json"])
    assert [finding["name"] for finding in json.loads(result.output)][5:] == ["paging", *names]
    assert result.exit_code == 1


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]"])
def test_a_file_without_a_search_is_refused(tmp_path: Path, text: str) -> None:
    fake = FakeOpenSearch()
    install(Cluster(fake.client()), InstallPlan("http://127.0.0.1:8080", ["body"]))
    path = tmp_path / "search.json"
    path.write_text(text)
    with serving(fake.answer) as url:
        result = CliRunner().invoke(app, ["opensearch", "check", "--url", url, "--deep", "--body", str(path)])
    assert str(path) in str(result.exception)
