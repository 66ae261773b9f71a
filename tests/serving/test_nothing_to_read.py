"""A document with nothing to read is below every one with text, whoever asks and however."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from connector.gateway_client import GatewayScorer
from connector.proxy.window import _order
from slimrank import Reranker
from slimrank.engine.session import OrtScorer
from slimrank.scoring import is_readable, rank
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.types import Scored
from tests.serving.conftest import over
from tests.tiny import loaded

DOCUMENTS = ["", "Titan is a moon.", " \n\t", "zzz qqq xxx", "\u200b\u00ad", "rye bread", "\x00", "git reset"]
BLANK = [0, 2, 4, 6]


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> OrtScorer:
    return OrtScorer.load(tiny_model, threads=1)


@pytest.fixture(scope="module")
def client(tiny_model: Path) -> Iterator[httpx.Client]:
    with over(EmbeddedBackend(loaded(tiny_model))) as client:
        yield client


@pytest.mark.parametrize("text", ["a", ".", "\U0001f600", "月", " \n-", "\u200bx"])
def test_what_shows_can_be_read(text: str) -> None:
    assert is_readable(text)


@pytest.mark.parametrize(
    "options", [{}, {"first_stage_order": True}, {"depth": 6, "deadline_ms": 60_000}, {"long_document": "max_passage"}]
)
def test_in_python(scorer: OrtScorer, options: dict[str, object]) -> None:
    ranked = Reranker(scorer).rank("the largest moon", DOCUMENTS, **options)  # type: ignore[arg-type]
    places = [one.index for one in ranked]
    read_blank = [place for place in BLANK if place < options.get("depth", 8)]  # type: ignore[operator]
    assert places[-len(read_blank) :] == read_blank
    assert sorted(places) == list(range(8))
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    chances = [one.probability for one in ranked]
    assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize("raw_scores", [True, False])
@pytest.mark.parametrize("extra", [{}, {"first_stage_order": True}, {"long_document": "max_passage"}, {"depth": 7}])
def test_over_http(client: httpx.Client, extra: dict[str, object], raw_scores: bool) -> None:
    body = {"query": "the largest moon", "documents": DOCUMENTS, "raw_scores": raw_scores} | extra
    answer = client.post("/v1/rerank", json=body)
    results = answer.json()["results"]
    assert [one["index"] for one in results][4:] == ([7, *BLANK][1:] if "depth" not in extra else BLANK)
    values = [one["relevance_score"] for one in results]
    assert values == sorted(values, reverse=True)
    assert min(values[:4]) > max(values[4:])


def test_for_proxy_and_client_a_hit_without_the_field_has_nothing_to_read(client: httpx.Client) -> None:
    scored = GatewayScorer(str(client.base_url), http=client).score_in_order("the largest moon", DOCUMENTS)
    assert _order([float(score) for score in scored.scores], len(DOCUMENTS))[-4:] == BLANK


def test_single_requests_that_share_a_run_know_it_too(scorer: OrtScorer) -> None:
    found = scorer.score_pairs([("moon", "Titan"), ("moon", ""), ("bread", "rye")])
    assert found[1].scores[0] < -50_000
    assert found[0].scores[0] == pytest.approx(scorer.score("moon", ["Titan"]).scores[0], abs=1e-3)
    assert scorer.score_pairs([("moon", " ")])[0].scores[0] < -50_000
    assert scorer.score("moon", ["", ""]).scores.tolist() == [-100_000.0] * 2


def test_what_was_not_scored_stands_above_what_holds_nothing() -> None:
    scored = Scored(
        np.array([-100_000, 1, -1000 - 2, -1000 - 3], dtype=np.float32), np.zeros(4, dtype=np.bool_), False, 1, depth=2
    )
    ranked = rank(scored)
    assert [one.index for one in ranked] == [1, 2, 3, 0]
    assert [one.probability for one in ranked] == sorted((one.probability for one in ranked), reverse=True)
    assert ranked[-1].probability < ranked[-2].probability
