"""Whatever lies in Redis where a job should be, the worker goes on and its asker is told."""

import json
from collections.abc import Iterator, Sequence

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.identity import ModelIdentity
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import messages, tasks
from slimrank.serving.queue.tasks import RerankTask
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer
from tests.serving.test_security import JSON, TRIES

pytestmark = pytest.mark.redis

FIELDS = ["query", "documents", "instruction", "max_document_tokens", "priority", "depth", "takes_partial", "long_document"]
REPLY_TO = messages.reply_key("fuzz")


@pytest.fixture(scope="module")
def task(redis_url: str) -> Iterator[tuple[RerankTask, redis.Redis]]:
    """Yield a worker's task and the store that it reads."""
    scoring = ScoringLoop(Model(ModelIdentity("fake"), FakeScorer()))
    scoring.start()
    with redis.Redis.from_url(redis_url) as store:
        yield RerankTask(scoring, store, Metrics(), worker_id="fuzzed"), store
        store.delete(REPLY_TO)
    scoring.stop()


@settings(max_examples=TRIES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=100) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)).map(lambda value: json.dumps(value).encode())
)  # fmt: skip
def test_no_job_stops_a_worker_or_leaves_its_asker_without_an_answer(
    task: tuple[RerankTask, redis.Redis], message: bytes
) -> None:
    run, store = task
    store.set(messages.job_key("fuzz"), message, px=60_000)
    run("fuzz", REPLY_TO)
    claim, reply = store.lrange(REPLY_TO, 0, -1)
    store.delete(REPLY_TO)
    assert "claimed_by" in messages.decode_reply(claim)
    found = messages.decode_reply(reply)
    assert "error" in found or "scores" in found
    assert "/" not in found.get("error", {}).get("message", "")


class Leaving(FakeScorer):
    """Forgets the job in the middle of its third call, as a gateway does whose caller leaves."""

    def __init__(self, store: redis.Redis) -> None:
        super().__init__(document_seconds=0.02)
        self._store = store

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        scored = super().score(query, documents, instruction=instruction)
        if self.calls == 3:
            self._store.delete(messages.job_key("left"))
        return scored


def test_a_job_whose_caller_left_ends_with_the_slice_in_hand(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LOOK_SECONDS", 60)  # so that looking now and then helps nobody
    with redis.Redis.from_url(redis_url) as store:
        scorer = Leaving(store)
        scoring = ScoringLoop(Model(ModelIdentity("fake"), scorer))
        scoring.start()
        job = Job(RerankRequest("pipe", [f"document {place}" for place in range(400)]))
        store.set(messages.job_key("left"), messages.encode_job(job), px=60_000)
        RerankTask(scoring, store, Metrics(), worker_id="left")("left", REPLY_TO)
        reply = messages.decode_reply(store.lrange(REPLY_TO, 0, -1)[-1])
        store.delete(REPLY_TO)
        scoring.stop()
    assert reply["error"]["type"] == "DeadlineExceeded"
    assert scorer.calls == 3


def test_a_job_that_is_gone_is_answered_at_once(task: tuple[RerankTask, redis.Redis]) -> None:
    run, store = task
    run("never", REPLY_TO)
    reply = messages.decode_reply(store.lrange(REPLY_TO, 0, -1)[-1])
    store.delete(REPLY_TO)
    assert reply["error"]["type"] == "ModelNotReady"
