"""With nothing set, every way in has its documents scored in full within its own deadline, on two cores with VNNI.

Computed, and not timed here: from what ``slimrank frontier`` measured of the default model (``slimrank/frontier.json``, two cores
without VNNI), and from how many times as quick VNNI makes the same benchmark (``docs.hardware.WITHOUT_VNNI``, measured).
"""

import inspect
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
import yaml

from connector import bodies, depth, elasticsearch, opensearch
from connector.audit import access
from connector.audit.spec import Rerank
from connector.client import rerank_search
from connector.gateway import DEFAULT_TIMEOUT_SECONDS, GatewayScorer
from connector.playground.wire import SearchCall
from connector.proxy.rules import Rule, read_extension
from docs.figures import ROOT
from docs.hardware import WITHOUT_VNNI, Machine, time_of
from slimrank import frontier
from slimrank.serving.scoring_loop import REPLY_SHARE
from slimrank.settings import DEFAULT_MODEL_NAME, Settings

LENGTHS = (64, 128, 400)
"""Tokens of a short, a medium and a long document."""
GATEWAY = "http://gateway:8080"


class Way(NamedTuple):
    """A way in, as it is where nothing is set."""

    name: str
    hits: int
    seconds: float


def ways() -> Iterator[Way]:
    """Yield each way with its own hits and deadline, read from what would be sent or installed."""
    for name, rule in (("a rule of the proxy", Rule(name="r", indices=("*",))), ("ext.slimrank", read_extension(True))):
        yield Way(name, rule.rank_window_size, rule.deadline_ms / 1000)
    window = inspect.signature(rerank_search).parameters["rank_window_size"].default
    yield Way("rerank_search", window, GatewayScorer(GATEWAY)._options["deadline_ms"] / 1000)
    retriever = elasticsearch.search("q", "text")["retriever"]["text_similarity_reranker"]
    yield Way(
        "Elasticsearch's retriever", retriever["rank_window_size"], _deadline(elasticsearch.endpoint(elasticsearch.Plan(GATEWAY)))
    )
    widest = round(max(depth.WIDEST, opensearch.Plan(GATEWAY, ["text"]).oversample) * depth.PAGE)
    connector = bodies.connector("c", f"{GATEWAY}/v1/rerank", model="", api_key="k", description="")
    yield Way("OpenSearch's pipeline, at its widest", widest, _deadline(connector))
    yield Way("the playground", SearchCall(query="q").depth, Settings().timeout_seconds)
    yield Way("an audit", Rerank(url=GATEWAY, fields=["text"]).rank_window_size, access._GATEWAY_SECONDS)
    yield Way("a client's hundred documents", 100, Settings().timeout_seconds)
    yield Way("a framework's fifty documents", 50, DEFAULT_TIMEOUT_SECONDS)


def _deadline(body: object) -> float:
    """Return the one deadline that a body asks the gateway to keep, in seconds."""
    (milliseconds,) = set(re.findall(r"deadline_ms\W+(\d+)", json.dumps(body)))
    return int(milliseconds) / 1000


def seconds(hits: int, tokens: int) -> float:
    """Return what hits of so many tokens were measured to take without VNNI; the line of the longest cells goes on beyond them."""
    cells = sorted(_seconds_a_hit().items())
    (less, shorter), (more, longer) = next((pair for pair in pairwise(cells) if tokens <= pair[1][0]), cells[-2:])
    return hits * (shorter + (longer - shorter) * (tokens - less) / (more - less))


def _seconds_a_hit() -> dict[int, float]:
    """Return seconds of the default model by tokens of a document, from the rows with most hits."""
    rows = [
        row
        for row in frontier.read().rows
        if row.setting.model == DEFAULT_MODEL_NAME and row.setting.window == "head" and row.p50_ms
    ]
    most = max(row.setting.hits for row in rows)
    return {row.setting.tokens: row.p50_ms / 1000 / most for row in rows if row.setting.hits == most and row.p50_ms}


def tokens_read(length: int) -> int:
    """Return how many tokens of a document the engine reads where nothing is set."""
    return min(length, Settings().tokens_read or length)


@pytest.mark.parametrize("way", list(ways()), ids=lambda way: way.name)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_way_in_answers_in_full_within_its_own_deadline_on_two_cores_with_vnni(way: Way, length: int) -> None:
    needed = seconds(way.hits, tokens_read(length)) / WITHOUT_VNNI
    assert needed <= (1 - REPLY_SHARE) * way.seconds


@pytest.mark.parametrize("way", list(ways()), ids=lambda way: way.name)
def test_the_table_of_measured_sizes_says_the_same(way: Way) -> None:
    assert time_of(Machine("2 cores", 2), way.hits, tokens_read(max(LENGTHS))).seconds <= (1 - REPLY_SHARE) * way.seconds


def test_where_documents_were_read_whole_they_would_not() -> None:
    whole = [way.name for way in ways() if seconds(way.hits, max(LENGTHS)) / WITHOUT_VNNI > (1 - REPLY_SHARE) * way.seconds]
    assert {"a rule of the proxy", "ext.slimrank", "OpenSearch's pipeline, at its widest"} <= set(whole)


def test_what_is_deployed_leaves_the_defaults_as_they_are() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "slimrank" / "values.yaml").read_text(encoding="utf-8"))
    assert (values["settings"], values["model"]["name"], values["worker"]["gpu"]["enabled"]) == ({}, DEFAULT_MODEL_NAME, False)
    assert int(values["worker"]["resources"]["limits"]["cpu"]) >= 2
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for service in ("gateway", "worker"):
        assert (
            not {"SLIMRANK_DOCUMENT_TOKENS", "SLIMRANK_TIMEOUT_SECONDS", "SLIMRANK_PROVIDER"}
            & (compose[service].get("environment") or {}).keys()
        )
    assert (compose["worker"]["environment"]["SLIMRANK_MODEL"], compose["worker"]["cpus"]) == (
        f"${{WORKER_MODEL:-{DEFAULT_MODEL_NAME}}}",
        "${WORKER_CPUS:-2}",
    )


def test_the_cut_is_one_that_the_frontier_measured_and_nothing_shorter_gains_more() -> None:
    rows = [
        row
        for row in frontier.read().rows
        if row.setting.model == DEFAULT_MODEL_NAME and row.setting.hits == Rule(name="r", indices=("*",)).rank_window_size
    ]
    gains = {
        row.setting.tokens: row.gain.mean for row in rows if row.gain and row.setting.window == "head" and not row.setting.first
    }
    assert max(gains, key=lambda tokens: gains[tokens]) == Settings().tokens_read
