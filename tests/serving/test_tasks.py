"""Whatever lies in Redis where a job should be, the worker goes on and its asker is told."""

import json
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimrank.serving import messages
from slimrank.serving.metrics import Metrics
from slimrank.serving.model import Model
from slimrank.serving.scoring_loop import ScoringLoop
from slimrank.serving.tasks import RerankTask
from tests.doubles import FakeScorer
from tests.serving.test_security import JSON, TRIES

pytestmark = pytest.mark.redis

FIELDS = ["query", "documents", "instruction", "max_document_tokens", "priority", "depth", "takes_partial", "long_document"]
REPLY_TO = messages.reply_key("fuzz")


@pytest.fixture(scope="module")
def task(redis_url: str) -> Iterator[tuple[RerankTask, redis.Redis]]:
    """Yield a worker's task and the store that it reads."""
    scoring = ScoringLoop(Model("fake", FakeScorer()))
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


def test_a_job_that_is_gone_is_answered_at_once(task: tuple[RerankTask, redis.Redis]) -> None:
    run, store = task
    run("never", REPLY_TO)
    reply = messages.decode_reply(store.lrange(REPLY_TO, 0, -1)[-1])
    store.delete(REPLY_TO)
    assert reply["error"]["type"] == "ModelNotReady"
