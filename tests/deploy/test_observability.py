"""Dashboard, alerts and scrape configuration: their queries are valid and name metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from connector.proxy.metrics import Metrics as ProxyMetrics
from slimrank.serving.metrics import Metrics
from tests.deploy.helm import ROOT

FOLDER = ROOT / "deploy" / "observability"
DASHBOARD = json.loads((FOLDER / "grafana" / "dashboards" / "slimrank.json").read_text())
ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [rule["expr"] for rule in ALERTS]


def exported() -> set[str]:
    """Return the names of all metrics of gateway, worker and proxy."""
    names = set()
    for registry in (Metrics().registry, ProxyMetrics().registry):
        for family in registry.collect():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


def plain(query: str) -> str:
    """Return a query with Grafana's variables filled in."""
    return query.replace("$__rate_interval", "1m").replace("$gateway", "gateway")


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_parses_and_asks_for_metrics_that_exist(query: str) -> None:
    promql_parser.parse(plain(query))
    asked = set(re.findall(r"slimrank_\w+", query))
    assert asked and asked <= exported()


def test_requests_that_workers_also_count_are_not_counted_twice() -> None:
    counters = r"slimrank_(?:cached_documents|documents|partial|tokens|truncated_documents)_total"
    both = counters + r"|slimrank_(?:queue|tokenise|infer)_seconds_\w+|slimrank_batch_tokens_\w+"
    for target in (target for panel in DASHBOARD["panels"] for target in panel["targets"]):
        assert not re.findall(rf'(?:{both})(?!\{{job=~"\$gateway"\}})\b(?!\w)(?=\[)', target["expr"])


def test_panels_lie_on_the_grid_without_covering_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DASHBOARD["panels"]):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken
        taken |= cells


def test_the_dashboard_finds_its_data_source_and_grafana_finds_the_dashboard() -> None:
    [source] = _read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert _read("grafana/provisioning/dashboards/slimrank.yml")["providers"][0]["type"] == "file"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_links_the_part_of_the_guide(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["guide"].partition("#")
    titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert rule["annotations"]["summary"]
    assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_prometheus_scrapes_the_services_of_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    names = [
        name for job in _read("prometheus.yml")["scrape_configs"] for found in job["dns_sd_configs"] for name in found["names"]
    ]
    assert names and set(names) <= services.keys()


def _read(name: str) -> Any:
    return yaml.safe_load(Path(FOLDER / name).read_text())
