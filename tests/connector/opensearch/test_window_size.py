"""An installation chooses its window by the speed of the gateway."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.cluster import Cluster
from connector.opensearch import bodies
from connector.opensearch.install import InstallPlan, install
from connector.opensearch.window_size import Depth, fit, measure, with_factor
from slimrank.scoring import UNSCORED
from tests.connector.fake_gateway import overlap_gateway
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving


@pytest.mark.parametrize(
    ("scored", "seconds", "factor"),
    [
        (50, 0.2, 5.0),  # a GPU scores the widest window
        (50, 3.0, 3.5),  # 37 documents in half of 4.5 s
        (20, 4.4, 1.0),  # ten documents on two slow cores
        (0, 4.4, 1.0),
    ],
)
def test_the_window_fits_into_half_of_the_deadline(scored: int, seconds: float, factor: float) -> None:
    assert Depth(scored, 50, seconds).factor(4.5) == factor


def test_only_scored_documents_are_counted_and_documents_are_new_each_time() -> None:
    asked: list[list[str]] = []

    def score(query: str, documents: list[str]) -> list[float]:
        asked.append(documents)
        return [1.0] * 20 + [-1000.0 - place for place in range(30)]

    found = [measure(score, unscored=-1000.0) for _ in range(2)]
    assert [(each.scored, each.documents) for each in found] == [(20, 50)] * 2
    assert len({document for documents in asked for document in documents}) == 100


def _slow(payload: dict[str, Any]) -> tuple[int, str]:
    """Answer like a gateway that scores ten documents in time."""
    status, text = overlap_gateway(payload)
    answer = json.loads(text)
    for result in answer["results"]:
        if result["index"] >= 10:
            result["relevance_score"] = UNSCORED - result["index"]
    answer["scores"] = [score if place < 10 else UNSCORED - place for place, score in enumerate(answer["scores"])]
    return status, json.dumps(answer)


def _install(fake: FakeOpenSearch, *more: str) -> str:
    with serving(fake.answer) as url:
        command = ["opensearch", "install", "--url", url, "--gateway", "http://127.0.0.1:8080", "--field", "text", *more]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return result.output


def _factor(fake: FakeOpenSearch) -> float:
    factors = [
        part["oversample"]["sample_factor"] for part in fake.pipelines["slimrank"]["request_processors"] if "oversample" in part
    ]
    return float(factors[0])


def test_the_window_is_narrowed_to_the_hits_that_the_gateway_scores_in_time() -> None:
    fake = FakeOpenSearch(gateway=_slow)
    cluster = Cluster(fake.client())
    install(cluster, InstallPlan("http://127.0.0.1:8080", ["text"]))
    done = fit(cluster, "slimrank", deadline_seconds=4.5, clock=iter([0.0, 1.0]).__next__)
    assert done.startswith("window: 2 times the page (10 of 50 documents of 300 words were scored in 1.0 s)")
    made = fake.pipelines["slimrank"]
    (model_id,) = fake.models
    assert made == bodies.pipeline(model_id, fields=["text"], oversample=2.0, description=made["description"])


def test_a_later_install_keeps_the_window_unless_another_is_given() -> None:
    fake = FakeOpenSearch()
    _install(fake, "--oversample", "2")
    assert "window:" not in _install(fake)
    assert _factor(fake) == 2.0
    _install(fake, "--oversample", "4")
    assert _factor(fake) == 4.0


def test_a_fast_gateway_gets_the_widest_window() -> None:
    fake = FakeOpenSearch()
    assert "window: 5 times the page (50 of 50 documents" in _install(fake)
    assert _factor(fake) == 5.0


def test_with_a_window_of_one_page_later_pages_work_and_other_processors_are_kept() -> None:
    foreign = {"filter_query": {"query": {"match_all": {}}}}
    body = bodies.pipeline("m", fields=["text"], oversample=5, description="")
    alone = bodies.pipeline("m", fields=["text"], oversample=1, description="")
    assert with_factor(body, 1.0) == alone
    mixed = {**body, "request_processors": [foreign, *body["request_processors"]]}
    assert with_factor(mixed, 1.0) == {**alone, "request_processors": [foreign]}
    assert with_factor(mixed, 2.0)["request_processors"][:2] == [foreign, body["request_processors"][0]]
