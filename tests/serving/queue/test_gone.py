"""What becomes of requests whose workers die: none is answered by another model, and none kills a third worker."""

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from slimrank.engine import redis_clients
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.queue.test_queue import GOOD, are_taken, eventually, post

pytestmark = [pytest.mark.slow, pytest.mark.redis]


def test_a_model_whose_last_worker_is_gone_is_refused_by_name_also_by_a_gateway_that_never_saw_it() -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_redis())
        stack.enter_context(worker(redis_url=url, fake_model="stays"))
        goes = stack.enter_context(worker(redis_url=url, fake_model="goes"))
        gate = stack.enter_context(gateway(redis_url=url))
        eventually(lambda: post(gate, GOOD | {"model": "goes"}).json().get("model") == "goes")
        goes.send_signal(signal.SIGTERM)
        goes.wait(30)
        eventually(lambda: post(gate, GOOD | {"model": "goes"}).status_code == 503)
        for known in (gate, stack.enter_context(gateway(redis_url=url))):
            answer = post(known, GOOD | {"model": "goes"})
            assert answer.status_code == 503
            assert "no worker of goes is left" in answer.json()["message"]
            assert post(known, GOOD | {"model": "of another server"}).json()["model"] == "stays"
            assert post(known).json()["model"] == "stays"


def test_a_default_model_without_a_worker_is_no_other_model() -> None:
    with (
        running_redis() as url,
        worker(redis_url=url, fake_model="other"),
        gateway(redis_url=url, default_model="mine", wait_ready=False) as gate,
    ):
        eventually(lambda: "no worker of mine is left" in post(gate).text)
        assert post(gate, GOOD | {"model": "other"}).status_code == 200


def test_a_job_that_kills_its_worker_is_sent_once_more_alone_and_takes_no_other_with_it() -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_redis())
        store = stack.enter_context(redis.Redis.from_url(url))
        workers = [stack.enter_context(worker(redis_url=url, fake_seconds=2))]
        gate = stack.enter_context(gateway(redis_url=url))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        answers = [pool.submit(post, gate, GOOD | {"query": f"lead pipe {number}"}) for number in range(3)]
        for _ in range(2):
            eventually(lambda: are_taken(store, 3) or len(list(store.scan_iter(redis_clients.KEY_PREFIX + "job:*"))) < 3)
            last = workers[-1]
            workers.append(stack.enter_context(worker(redis_url=url, fake_seconds=0.5 if len(workers) > 1 else 2)))
            last.send_signal(signal.SIGKILL)
            time.sleep(4)
        statuses = sorted(answer.result().status_code for answer in answers)
        # One job was in the second worker when it died: it fails, at once and by name; the others were held back meanwhile.
        assert statuses.count(200) >= 2, statuses
        assert all(status in (200, 500) for status in statuses)
        assert post(gate).status_code == 200
