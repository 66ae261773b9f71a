"""A deadline costs depth and not the answer: what is scored comes first, the rest keeps its order, and it is said."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimrank import Reranker
from slimrank.engine.anytime import LEAST_CHUNK, depth_within, first_depth, next_chunk, score_until
from slimrank.engine.cost import TokenCost
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.errors import DeadlineExceeded, InvalidRequest
from slimrank.identity import ModelIdentity
from slimrank.scoring import UNSCORED, rank
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.queue import messages
from slimrank.types import RerankRequest, Scored
from tests.serving.conftest import over


class Clocked:
    """Scores by length, and lets a second pass for so many tokens on a clock of its own."""

    def __init__(self, tokens_per_second: float = 100.0) -> None:
        self.now = 0.0
        self.cost = TokenCost()
        self.calls: list[int] = []
        self._speed = tokens_per_second

    def clock(self) -> float:
        return self.now

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        return [len(document) for document in documents]

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.calls.append(len(documents))
        lengths = np.array([len(document) for document in documents], dtype=np.float32)
        self.now += float(lengths.sum()) / self._speed
        return Scored(lengths, np.zeros(len(lengths), dtype=np.bool_), False, int(lengths.sum()))


def warm(scorer: Clocked) -> Clocked:
    for tokens in (100, 400):
        scorer.cost.learn(tokens, tokens / scorer._speed)
    return scorer


def until(scorer: Clocked, documents: Sequence[str], seconds: float, **options: object) -> Scored:
    return score_until(scorer, "q", documents, deadline=scorer.now + seconds, clock=scorer.clock, **options)  # type: ignore[arg-type]


DOCUMENTS = ["x" * (10 + place % 3) for place in range(100)]


def test_with_time_for_all_the_answer_is_the_whole_one() -> None:
    scorer = warm(Clocked())
    scored = until(scorer, DOCUMENTS, 60)
    assert scored.depth is None
    assert scorer.calls == [100]
    assert np.array_equal(scored.scores, Clocked().score("q", DOCUMENTS).scores)


def test_at_the_deadline_the_first_are_scored_and_the_rest_keep_their_order_below() -> None:
    scorer = warm(Clocked())
    scored = until(scorer, DOCUMENTS, 5)
    assert scorer.now <= 5
    assert scored.depth is not None
    assert 35 <= scored.depth < 50
    ranked = rank(scored)
    assert [hit.index for hit in ranked[scored.depth :]] == list(range(scored.depth, 100))
    assert [hit.is_scored for hit in ranked] == [True] * scored.depth + [False] * (100 - scored.depth)
    rest = ranked[scored.depth - 1 :]
    assert all(one.score > other.score and one.probability > other.probability for one, other in itertools.pairwise(rest))


def test_an_estimate_that_is_off_costs_a_chunk_and_not_the_answer() -> None:
    scorer = Clocked(tokens_per_second=50)
    scorer.cost.learn(100, 1.0)  # twice as fast as it is
    scored = until(scorer, DOCUMENTS, 5)
    assert scorer.now <= 5
    assert scored.depth is not None


def test_auto_chooses_the_depth_before_it_begins() -> None:
    scorer = warm(Clocked())
    scored = until(scorer, DOCUMENTS, 5, depth="auto")
    assert scored.depth is not None
    assert scorer.calls == [scored.depth]
    assert 30 <= scored.depth <= 40


def test_a_depth_scores_the_first_and_no_more() -> None:
    scorer = Clocked()
    scored = score_until(scorer, "q", DOCUMENTS, deadline=None, clock=scorer.clock, depth=7)
    assert (scored.depth, scorer.calls, len(scored.scores)) == (7, [7], 100)


def test_without_time_for_one_document_it_says_so() -> None:
    with pytest.raises(DeadlineExceeded, match="allow more time"):
        until(Clocked(), DOCUMENTS, 0)


@given(st.lists(st.integers(1, 512), max_size=60), st.floats(0.001, 100))
def test_the_chosen_documents_fit_and_one_more_would_not(tokens: list[int], seconds: float) -> None:
    cost = TokenCost()
    for count in (64, 512):
        cost.learn(count, 0.01 + count / 1000)
    depth = depth_within(tokens, seconds, cost)
    assert depth == 0 or cost.seconds(sum(tokens[:depth])) <= seconds
    assert depth == len(tokens) or cost.seconds(sum(tokens[: depth + 1])) > seconds
    assert 0 <= next_chunk(tokens, seconds, cost) <= len(tokens)
    assert first_depth("auto", tokens, None, cost) == len(tokens)


def test_a_document_takes_its_lane_as_long_however_many_lie_idle_beside_it() -> None:
    cost = TokenCost(lanes=4)
    assert cost.work([100, 20, 400, 300, 900]) == [400, 400, 1600, 1600, 3600]
    for tokens in ([100] * 8, [50] * 4):
        cost.learn_documents(tokens, sum(tokens) / 1000)
    assert cost.seconds(cost.work([100])[0]) == pytest.approx(cost.seconds(cost.work([100] * 4)[-1]))
    assert depth_within([100], 0.3, cost) == 0, "one lane takes .4 s for it"
    assert depth_within([100] * 8, 0.55, cost) == 5


def test_a_chunk_keeps_every_lane_busy() -> None:
    cost = TokenCost(lanes=16)
    assert next_chunk([10] * 100, 1.0, cost) == 16
    cost.learn_documents([10] * 16, 0.16)
    assert next_chunk([10] * 100, 0.3, cost) == 16
    assert next_chunk([10] * 100, 0.3, TokenCost()) == LEAST_CHUNK


def test_fused_and_very_low_scores_stay_above_what_was_not_scored() -> None:
    scored = Scored(np.array([-3000, -900, UNSCORED - 2], dtype=np.float32), np.zeros(3, dtype=np.bool_), False, 1, depth=2)
    assert [hit.index for hit in rank(scored)] == [1, 0, 2]
    assert rank(scored)[2].score < -3000


@pytest.mark.parametrize("depth", [0, -1, "all", 2.5, True])
def test_a_depth_that_is_neither_a_number_nor_auto_is_refused(depth: object) -> None:
    with pytest.raises(InvalidRequest, match="depth must be"):
        Reranker(Clocked()).rank("q", ["a"], depth=depth)  # type: ignore[arg-type]


def test_the_python_way_marks_what_was_not_scored() -> None:
    ranked = Reranker(Clocked()).rank("q", ["a", "bb", "ccc"], depth=2, deadline_ms=10_000)
    assert [(hit.index, hit.is_scored) for hit in ranked] == [(1, True), (0, True), (2, False)]


def test_the_loop_answers_with_what_there_is() -> None:
    scorer = warm(Clocked())
    loop = ScoringLoop(Model(ModelIdentity("fake"), scorer), clock=scorer.clock)
    job = Job(RerankRequest("q", DOCUMENTS), takes_partial=True)
    future = loop.submit(job, timeout_seconds=5)
    waiting = loop._next()
    assert waiting is not None
    while loop._queries or not future.done():
        loop._turn(waiting)
        waiting = loop._next() if loop._queries else waiting
    answer = future.result(0)
    assert answer.is_partial
    assert scorer.now < 5
    assert answer.scored.depth is not None
    assert 35 <= answer.scored.depth < 50


def test_partial_answers_travel_through_the_queue() -> None:
    job = Job(RerankRequest("q", ["a"]), depth="auto", takes_partial=True, long_document="max_passage")
    assert messages.decode_job(messages.encode_job(job)) == job
    scored = Scored(np.ones(2, dtype=np.float32), np.zeros(2, dtype=np.bool_), False, 3, depth=1, passages=4, cached=1)
    found = messages.answer_of(
        messages.decode_reply(messages.encode_answer("id", Answer(scored, ModelIdentity("m"), is_partial=True))), documents=2
    )
    assert (found.is_partial, found.scored.depth, found.scored.passages, found.scored.cached) == (True, 1, 4, 1)


class OneChunk(TokenCost):
    """Foresees time for a few documents once, and then for none: a deadline without the waiting."""

    is_over = False

    def seconds(self, cost: float) -> float:
        return 1e9 if self.is_over or cost > 100 else 0.0

    @property
    def is_known(self) -> bool:
        return True


class Stopped(Clocked):
    """Has time for one chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.cost: OneChunk = OneChunk()

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.cost.is_over = True
        return super().score(query, documents, instruction=instruction)


def ask(client: httpx.Client, **fields: object) -> httpx.Response:
    return client.post("/v1/rerank", json={"query": "q", "documents": DOCUMENTS, "raw_scores": True, **fields})


def test_the_gateway_marks_a_partial_answer_in_header_meta_metric_log_and_numbers(caplog: pytest.LogCaptureFixture) -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), Stopped()))) as client:
        answer = ask(client, deadline_ms=20_000)
        body = answer.json()
        depth = body["meta"]["scored_documents"]
        assert answer.status_code == 200
        assert body["meta"]["partial"] is True
        assert answer.headers["x-slimrank-partial"] == str(depth)
        assert 1 <= depth < 100
        assert [hit["index"] for hit in body["results"][depth:]] == list(range(depth, 100))
        assert "degraded" not in body["meta"]
        assert "slimrank_partial_total 1.0" in client.get("/metrics").text
        assert f"partial id={body['id']} scored={depth} documents=100 after_seconds=" in caplog.text


def test_the_gateway_scores_to_the_depth_that_was_asked_for() -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), Clocked()))) as client:
        body = ask(client, depth=3).json()
        assert (body["meta"]["scored_documents"], body["meta"]["partial"]) == (3, False)
        assert ask(client, depth="auto", deadline_ms=20_000).json()["meta"]["scored_documents"] == 100
        assert ask(client, depth="some").status_code == 422


def test_auto_lets_a_model_time_itself_first(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMRANK_HOME", str(tmp_path))
    reranker = Reranker.load(tiny_model, threads=1)
    assert len(reranker.rank("q", ["a", "b"], depth="auto", deadline_ms=60_000)) == 2
    assert reranker.scorer.cost.is_known  # type: ignore[attr-defined]
