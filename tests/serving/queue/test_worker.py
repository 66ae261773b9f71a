"""A worker's threads and Celery's consumer: what comes free is filled again at once."""

import threading
from collections.abc import Callable

from slimrank.serving.queue.worker import WakingPool


class Hub:
    """Celery's event loop, as far as the pool knows it."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()
        self.woken.set()


def test_the_consumer_is_woken_after_a_task_is_off_its_books() -> None:
    done, is_off = threading.Event(), []
    hub, pool = Hub(), WakingPool(1)
    pool.register_with_event_loop(hub)

    def take_off(*_: object) -> None:
        assert not hub.woken.is_set()
        is_off.append(True)

    pool.on_apply(lambda: done.wait(5), (), {}, callback=take_off, accept_callback=lambda *_: None)
    assert not hub.woken.is_set()
    done.set()
    assert hub.woken.wait(5)
    assert is_off == [True]
    pool.stop()
