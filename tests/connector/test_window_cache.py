"""How long the scores of a window are kept, and that different windows have different keys."""

import threading

import numpy as np
import pytest

from connector.window_cache import FirstPageNotScored, Part, Windows, window_key
from slimrank.types import Scored

SCORED = Scored(np.array([1.0], dtype=np.float32), np.array([False]), False, 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_window_is_kept_for_a_while_and_longer_if_later_pages_are_requested() -> None:
    clock = Clock()
    windows = Windows(seconds=10, clock=clock)
    windows.keep(b"a", SCORED)
    for clock.now in (9.0, 18.0, 27.0):
        assert windows.find(b"a", is_first_page=False) is SCORED
    assert windows.find(b"a", is_first_page=True) is SCORED
    clock.now = 37.5
    assert windows.find(b"a", is_first_page=False) is None


def test_first_pages_do_not_extend_the_time_of_a_window() -> None:
    clock = Clock()
    windows = Windows(seconds=10, clock=clock)
    windows.keep(b"a", SCORED)
    clock.now = 9.0
    assert windows.find(b"a", is_first_page=True) is SCORED
    clock.now = 11.0
    assert windows.find(b"a", is_first_page=True) is None


def test_a_failure_counts_for_later_pages_and_does_not_replace_scores() -> None:
    windows = Windows()
    windows.keep(b"a", None)
    assert windows.find(b"a", is_first_page=True) is None
    with pytest.raises(FirstPageNotScored, match="search again from the first"):
        windows.find(b"a", is_first_page=False)
    windows.keep(b"a", SCORED)
    windows.keep(b"a", None)
    assert windows.find(b"a", is_first_page=False) is SCORED


def test_the_least_recently_used_window_is_dropped_first() -> None:
    windows = Windows(most=2)
    windows.keep(b"a", SCORED)
    windows.keep(b"b", SCORED)
    windows.find(b"a", is_first_page=True)
    windows.keep(b"c", SCORED)
    assert [windows.find(key, is_first_page=True) is SCORED for key in (b"a", b"b", b"c")] == [True, False, True]


def test_different_windows_have_different_keys() -> None:
    cases = [("q", ["a", "b"], None), ("q", ["ab"], None), ("q", ["b", "a"], None), ("q", ["a"], "b"), ("qa", ["b"], None)]
    cases += [("q", ["a"], None, Part("best")), ("q", ["a"], None, Part(tokens=9)), ("q", ["a"], None)]
    assert len({window_key(*case) for case in cases}) == len(cases)
    assert window_key("q\ud800", ["a"], None)


def test_one_thread_at_a_time_scores_a_window() -> None:
    windows, order = Windows(), []
    began = threading.Event()

    def second() -> None:
        began.set()
        with windows.turn(b"a"):
            order.append("second")

    with windows.turn(b"a"), windows.turn(b"b"):
        thread = threading.Thread(target=second)
        thread.start()
        began.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
