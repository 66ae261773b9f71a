"""A known score is the score: the same answer, without the model, for the same model, query and document only."""

from collections.abc import Sequence

import numpy as np
import pytest
import redis

from slimrank.engine.cache import SLOTS, CachedScorer, InMemory, InRedis, Level
from slimrank.engine.model import Model, _cache_levels
from slimrank.identity import ModelIdentity
from slimrank.scoring import Scorer
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.settings import Settings
from slimrank.types import Scored
from tests.doubles import MAX_WORDS, FakeScorer
from tests.serving.conftest import over

DOCUMENTS = ["a pipe", "a spoon", "x " * (MAX_WORDS + 1), "a pipe"]


class Recorder(FakeScorer):
    """Keeps what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.seen += documents
        return super().score(query, documents, instruction=instruction)


def memory(**options: float) -> InMemory:
    return InMemory(**({"entries": 100, "seconds": 60.0} | options))  # type: ignore[arg-type]


def same(one: Scored, other: Scored) -> bool:
    return (
        np.array_equal(one.scores, other.scores)
        and np.array_equal(one.truncated, other.truncated)
        and one.query_truncated == other.query_truncated
    )


def test_the_second_time_the_answer_is_the_same_and_the_model_rests() -> None:
    scorer = Recorder()
    cached = CachedScorer(scorer, "m", [memory()])
    first = cached.score("pipe", DOCUMENTS)
    assert same(first, FakeScorer().score("pipe", DOCUMENTS))
    assert scorer.seen == DOCUMENTS[:3]
    assert first.cached == 0
    second = cached.score("pipe", [*reversed(DOCUMENTS), "new"])
    assert same(second, FakeScorer().score("pipe", [*reversed(DOCUMENTS), "new"]))
    assert scorer.seen[3:] == ["new"]
    assert second.cached == 4
    assert cached.score("pipe", DOCUMENTS).tokens == 0


def test_pairs_are_known_too_and_kept() -> None:
    scorer = Recorder()
    cached = CachedScorer(scorer, "m", [memory()])
    cached.score("pipe", ["a pipe"])
    pairs = [("spoon", "a spoon"), ("pipe", "a pipe"), ("spoon", "a spoon"), ("pipe", "a spoon")]
    for round_ in range(2):
        answers = cached.score_pairs(pairs)
        alone = [FakeScorer().score(query, [document]) for query, document in pairs]
        assert all(same(one, other) for one, other in zip(answers, alone, strict=True))
        assert [one.cached for one in answers] == ([0, 1, 1, 0] if round_ == 0 else [1] * 4)
    assert scorer.seen == ["a pipe", "a spoon", "a spoon"]
    assert cached.score("spoon", ["a spoon"]).cached == 1


def test_every_part_of_the_key_counts() -> None:
    level = memory()
    scorer = Recorder()
    cached = CachedScorer(scorer, "m", [level])
    cached.score("ab", ["c"])
    cached.score("a", ["c"])
    cached.score("a", ["bc"])
    cached.score("a", ["c"], instruction="new")
    CachedScorer(scorer, "another", [level]).score("ab", ["c"])
    assert len(scorer.seen) == 5
    assert len(level) == 5


def test_no_documents_are_no_answer_from_the_cache() -> None:
    assert len(CachedScorer(FakeScorer(), "m", [memory()]).score("q", []).scores) == 0


def test_memory_is_bounded_in_entries_and_age() -> None:
    now = [0.0]
    level = InMemory(entries=3, seconds=10, clock=lambda: now[0])
    level.put({bytes([key]): b"12345" for key in range(3)})
    assert level.get([b"\0"]) == [b"12345"]
    level.put({b"new": b"12345"})
    assert level.get([b"\0", b"\1", b"\2", b"new"]) == [b"12345", None, b"12345", b"12345"]
    now[0] = 11
    assert level.get([b"new"]) == [None]
    assert len(level) == 2


def test_a_cached_score_costs_nothing() -> None:
    cached = CachedScorer(FakeScorer(), "m", [memory()])
    cached.score("pipe", ["a pipe"])
    assert cached.token_counts("pipe", ["a pipe", "a spoon"])[0] == 0
    assert cached.token_counts("pipe", ["a pipe", "a spoon"])[1] > 0


@pytest.fixture
def store(redis_url: str) -> redis.Redis:
    client = redis.Redis.from_url(redis_url)
    for key in client.scan_iter("slimrank:scores:*"):
        client.delete(key)
    return client


def test_workers_share_scores_through_redis_and_no_text_is_there(store: redis.Redis) -> None:
    def worker(scorer: Scorer) -> CachedScorer:
        levels: list[Level] = [memory(), InRedis(store, entries=10_000, seconds=60)]
        return CachedScorer(scorer, "m", levels)

    worker(FakeScorer()).score("pipe", DOCUMENTS)
    other = Recorder()
    answer = worker(other).score("pipe", DOCUMENTS)
    assert other.seen == []
    assert same(answer, FakeScorer().score("pipe", DOCUMENTS))
    keys = list(store.scan_iter("slimrank:scores:*"))
    held = b"".join(part for key in keys for entry in store.hgetall(key).items() for part in entry)
    assert len(held) == 3 * (16 + 5)
    assert all(0 < store.pttl(key) <= 60_000 for key in keys)


def test_redis_is_bounded_in_entries(store: redis.Redis) -> None:
    level = InRedis(store, entries=2 * SLOTS, seconds=60)
    for place in range(40):
        level.put({bytes([7, place]): b"12345"})
    assert sum(store.hlen(key) for key in store.scan_iter("slimrank:scores:*")) <= 2


def test_a_cache_that_fails_is_a_miss() -> None:
    nowhere = redis.Redis(port=1, socket_connect_timeout=0.1)
    cached = CachedScorer(FakeScorer(), "m", [InRedis(nowhere, entries=10, seconds=1)])
    assert same(cached.score("pipe", DOCUMENTS), FakeScorer().score("pipe", DOCUMENTS))


def test_a_switch_turns_it_off() -> None:
    assert _cache_levels(Settings(score_cache="off")) == []
    assert len(_cache_levels(Settings(score_cache="memory"))) == 1
    assert len(_cache_levels(Settings(score_cache="redis"))) == 2


def test_hits_are_counted() -> None:
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), CachedScorer(FakeScorer(), "m", [memory()])))) as client:
        for _ in range(2):
            answer = client.post("/v1/rerank", json={"query": "pipe", "documents": ["a pipe", "a spoon"]})
            assert answer.status_code == 200
        assert "slimrank_cached_documents_total 2.0" in client.get("/metrics").text
