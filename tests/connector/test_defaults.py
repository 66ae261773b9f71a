"""With nothing set, every way in has its documents scored in full within its own deadline, on two cores with VNNI.

Computed, and not timed here: from what `slimrank frontier` measured of the default model on two cores without VNNI
(`slimrank/evaluation/frontier.json`), and from how many times as quick VNNI made the same benchmark (`docs.hardware.WITHOUT_VNNI`).
"""

import pytest
import yaml

from docs.defaults import LONG, Way, seconds, tokens_read, ways
from docs.figures import ROOT
from docs.hardware import Machine, time_of
from slimrank.evaluation import frontier
from slimrank.settings import DEFAULT_MODEL_NAME, Settings

WAYS = list(ways())
REPORT = frontier.read()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("length", [64, 128, LONG])
def test_every_way_in_answers_in_full_within_its_own_deadline_on_two_cores_with_vnni(way: Way, length: int) -> None:
    assert way.is_in_full(seconds(REPORT, way.hits, tokens_read(length), has_vnni=True))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_sizes_that_were_measured_with_vnni_say_the_same(way: Way) -> None:
    assert way.is_in_full(time_of(Machine("2 cores", 2), way.hits, tokens_read(LONG)).seconds)


def test_read_whole_long_documents_would_be_answered_in_part() -> None:
    late = {way.name for way in WAYS if not way.is_in_full(seconds(REPORT, way.hits, LONG, has_vnni=True))}
    assert {"a rule of `slimrank proxy`", "`ext.slimrank` in a search", "OpenSearch's pipeline, at its widest"} <= late


def test_the_deployments_do_not_change_the_defaults() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "slimrank" / "values.yaml").read_text(encoding="utf-8"))
    assert (values["settings"], values["model"]["name"], values["worker"]["gpu"]["enabled"]) == ({}, DEFAULT_MODEL_NAME, False)
    assert int(values["worker"]["resources"]["limits"]["cpu"]) >= 2
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    others = {"SLIMRANK_DOCUMENT_TOKENS", "SLIMRANK_TIMEOUT_SECONDS", "SLIMRANK_PROVIDER"}
    assert not any(others & (compose[name].get("environment") or {}).keys() for name in ("gateway", "worker"))
    assert compose["worker"]["environment"]["SLIMRANK_MODEL"] == f"${{WORKER_MODEL:-{DEFAULT_MODEL_NAME}}}"
    assert compose["worker"]["cpus"] == "${WORKER_CPUS:-2}"


def test_of_the_cuts_on_the_frontier_that_fit_every_way_in_the_default_gains_most() -> None:
    window = WAYS[0].hits
    rows = [row for row in REPORT.rows if (row.setting.model, row.setting.hits) == (DEFAULT_MODEL_NAME, window)]
    gains = {
        row.setting.tokens: row.gain.mean for row in rows if row.gain and row.setting.window == "head" and not row.setting.first
    }
    fitting = [cut for cut in gains if all(way.is_in_full(seconds(REPORT, way.hits, cut, has_vnni=True)) for way in WAYS)]
    assert max(fitting, key=lambda cut: gains[cut]) == Settings().tokens_read
