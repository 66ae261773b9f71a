"""The defaults of every way to connect: its hits, its deadline, and the time that scoring takes on two small cores.

Hits and deadlines are read from the request or configuration that each way sends or installs. Times are computed from the report of
``slimrank frontier``: the time of the default model on the measured cores, and this time divided by the gain of VNNI.
``docs.write_frontier`` puts the table into docs/guides/hardware.md. Nothing is measured here.
"""

import inspect
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from connector.audit.ask import access
from connector.audit.spec import Rerank
from connector.client import rerank_search
from connector.elasticsearch import install as elasticsearch
from connector.gateway_client import DEFAULT_TIMEOUT_SECONDS
from connector.opensearch import bodies, window_size
from connector.opensearch import install as opensearch
from connector.playground.wire import SearchCall
from connector.proxy.rules import Rule, read_extension
from docs.hardware import WITHOUT_VNNI
from slimrank.engine.scoring_loop import REPLY_SHARE
from slimrank.evaluation.frontier import Report
from slimrank.settings import DEFAULT_MODEL_NAME, Settings
from slimrank.trials.table import markdown

LONG = 400
"""The tokens of a long document, such as a long paragraph."""
GATEWAY = "http://gateway:8080"


class Way(NamedTuple):
    """A way to connect with its defaults."""

    name: str
    hits: int
    deadline_seconds: float

    def is_in_full(self, seconds: float) -> bool:
        """Return whether all hits are scored in time; a part of the deadline is kept for sending the answer."""
        return seconds <= (1 - REPLY_SHARE) * self.deadline_seconds


def ways() -> Iterator[Way]:
    """Yield each way to connect with its default hits and deadline."""
    rule, extension = Rule(name="rule", indices=("*",)), read_extension(True)
    yield Way("a rule of `slimrank proxy`", rule.rank_window_size, rule.deadline_ms / 1000)
    yield Way("`ext.slimrank` in a search", extension.rank_window_size, extension.deadline_ms / 1000)
    connector = bodies.connector("name", f"{GATEWAY}/v1/rerank", model="", api_key="key", description="")
    widest = round(max(window_size.WIDEST, opensearch.InstallPlan(GATEWAY, ["text"]).oversample) * window_size.PAGE)
    yield Way("OpenSearch's pipeline, at its widest", widest, _deadline_seconds(connector))
    retriever = elasticsearch.search("query", "text")["retriever"]["text_similarity_reranker"]
    endpoint = elasticsearch.endpoint(elasticsearch.InstallPlan(GATEWAY))
    yield Way("Elasticsearch's retriever, as in the guide", retriever["rank_window_size"], _deadline_seconds(endpoint))
    window = inspect.signature(rerank_search).parameters["rank_window_size"].default
    yield Way("`rerank_search` in Python", window, DEFAULT_TIMEOUT_SECONDS)
    yield Way("an adapter of a framework, 50 documents", 50, DEFAULT_TIMEOUT_SECONDS)
    yield Way("the playground", SearchCall(query="query").depth, Settings().timeout_seconds)
    yield Way("any other client, 100 documents", 100, Settings().timeout_seconds)
    yield Way("an audit", Rerank(url=GATEWAY, fields=["text"]).rank_window_size, access.GATEWAY_SECONDS)


def _deadline_seconds(body: object) -> float:
    """Return the deadline that a body sends to the gateway."""
    (milliseconds,) = set(re.findall(r"deadline_ms\W+(\d+)", json.dumps(body)))
    return int(milliseconds) / 1000


def tokens_read(length: int) -> int:
    """Return the number of tokens of a document that a CPU reads by default."""
    return min(length, Settings().tokens_read or length)


def seconds(report: Report, hits: int, tokens: int, *, has_vnni: bool) -> float:
    """Return the default model's time for hits of ``tokens`` tokens, interpolated between the measured requests with most hits."""
    cells = sorted(_seconds_a_hit(report).items())
    (less, shorter), (more, longer) = next((pair for pair in pairwise(cells) if tokens <= pair[1][0]), cells[-2:])
    taken = hits * (shorter + (longer - shorter) * (tokens - less) / (more - less))
    return taken / WITHOUT_VNNI if has_vnni else taken


def _seconds_a_hit(report: Report) -> dict[int, float]:
    """Return the seconds for each hit by its tokens, from the rows with most hits."""
    rows = [
        row
        for row in report.rows
        if (row.setting.model, row.setting.window, row.setting.first) == (DEFAULT_MODEL_NAME, "head", "")
    ]
    timed = [(row.setting, row.p50_ms / 1000) for row in rows if row.p50_ms]
    most = max(setting.hits for setting, _ in timed)
    return {setting.tokens: taken / most for setting, taken in timed if setting.hits == most}


def table(report: Report) -> str:
    """Return the table of each way with the time for its hits, for long documents and defaults."""
    heads = ("way in", "hits", "deadline", "2 cores take", "2 cores without VNNI", "if documents were read whole, 2 cores")
    return markdown(heads, [_row(report, way) for way in ways()])


def _row(report: Report, way: Way) -> tuple[str, ...]:
    cut, whole = tokens_read(LONG), LONG
    takes = [(cut, True), (cut, False), (whole, True)]
    found = [seconds(report, way.hits, tokens, has_vnni=has_vnni) for tokens, has_vnni in takes]
    shown = [f"{each:.1f} s" + ("" if way.is_in_full(each) else ", in part") for each in found]
    return (way.name, str(way.hits), f"{way.deadline_seconds:g} s", *shown)
