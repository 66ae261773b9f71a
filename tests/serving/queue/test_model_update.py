"""Another model folder under real workers and gateways: no request fails, and each is answered by one model wholly."""

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from slimrank import manifest
from slimrank.serving.queue import messages
from tests.engine.test_model_folder import ask, expected, scores_of
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.test_faults import Load
from tests.serving.queue.test_queue import eventually
from tests.tiny import DOCUMENTS

pytestmark = [pytest.mark.slow, pytest.mark.redis]
VARIANTS = [{}, {"max_tokens_per_doc": 5}, {"instruction": "prefer space"}, {"long_document": "max_passage"}]


@pytest.fixture
def own_redis() -> Iterator[tuple[str, redis.Redis]]:
    """Yield the URL of a Redis that no other test uses, and a client."""
    with running_redis() as url, redis.Redis.from_url(url) as store:
        yield url, store


def answered_by(load: Load, folders: list[Path]) -> list[Path]:
    """Return the folder that gave each answer, after a look that all of its scores are that folder's."""
    by_hash = {manifest.read(folder).digest(): folder for folder in folders}
    found = []
    for query, answer in load.answers:
        folder = by_hash[answer["meta"]["model_sha256"]]
        assert scores_of(answer) == expected(folder, query, ["nothing", f"this is {query}", "more nothing"])
        found.append(folder)
    return found


def test_a_folder_swapped_under_a_worker_is_the_new_model_after_a_restart_and_not_before(
    model_copy: Path, tiny_model: Path, other_tiny_model: Path, own_redis: tuple[str, redis.Redis]
) -> None:
    url, store = own_redis
    settings = {"redis_url": url, "model": model_copy, "score_cache": "off"}
    with worker(fake=False, **settings) as old, gateway(fake=False, redis_url=url) as gate, contextlib.ExitStack() as stack:
        before = [ask(gate, **fields)["scores"] for fields in VARIANTS]
        name = manifest.read(model_copy).name
        shutil.rmtree(model_copy)
        shutil.copytree(other_tiny_model, model_copy)
        manifest.read(model_copy).model_copy(update={"name": name}).save(model_copy)
        assert [ask(gate, **fields)["scores"] for fields in VARIANTS] == before
        for number in range(20):
            query = f"bread after the swap {number}"
            was, will_be = (expected(folder, query, DOCUMENTS) for folder in (tiny_model, other_tiny_model))
            scores = scores_of(ask(gate, query=query))
            assert scores == was and scores != will_be
        with Load(gate, callers=2, raw_scores=True) as load:
            stack.enter_context(worker(fake=False, **settings))
            eventually(lambda: store.scard(messages.WORKERS_KEY) == 2)
            load.wait_for(40)
            old.send_signal(signal.SIGTERM)
            assert old.wait(timeout=30) == 0
            load.wait_for(40)
        assert scores_of(ask(gate, query="restarted")) == expected(other_tiny_model, "restarted", DOCUMENTS)
    assert set(load.statuses) == {200}
    given = answered_by(load, [tiny_model, model_copy])
    assert set(given) == {tiny_model, model_copy}
    assert given[-1] == model_copy


def test_a_rolling_update_to_another_model_fails_no_request(
    tiny_model: Path, other_tiny_model: Path, own_redis: tuple[str, redis.Redis]
) -> None:
    url, store = own_redis
    old_name, new_name = tiny_model.name, other_tiny_model.name
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(worker(fake=False, redis_url=url, model=tiny_model, score_cache="off"))
        old_gate = contextlib.ExitStack()
        stack.enter_context(old_gate)
        first = old_gate.enter_context(gateway(fake=False, redis_url=url, default_model=old_name))
        with Load(first, callers=2, raw_scores=True) as load:
            load.wait_for(40)
            stack.enter_context(worker(fake=False, redis_url=url, model=other_tiny_model, score_cache="off"))
            second = stack.enter_context(gateway(fake=False, redis_url=url, default_model=new_name))
            eventually(lambda: store.scard(messages.WORKERS_KEY) == 2)
            eventually(
                lambda: httpx.post(f"{first}/v1/rerank", json={"query": "q", "documents": ["a"], "model": new_name}).is_success
            )
            load.wait_for(40)
            before_switch = len(load.answers)
            load.url = second  # as a balancer does
            load.wait_for(40)
            old_gate.close()  # SIGTERM, and wait
            old.send_signal(signal.SIGTERM)
            assert old.wait(timeout=30) == 0
            drained = len(load.answers)
            load.wait_for(40)
    assert set(load.statuses) == {200}
    given = answered_by(load, [tiny_model, other_tiny_model])
    assert set(given[:before_switch]) == {tiny_model}
    assert set(given[drained:]) == {other_tiny_model}
