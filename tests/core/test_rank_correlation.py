"""Kendall's tau-b against pairs that were counted by hand."""

import numpy as np
import pytest

from slimrank.rank_correlation import kendall_tau


def test_kendalls_tau_counts_pairs_in_order() -> None:
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1.0
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1.0
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))
    assert kendall_tau([1, 1], [1, 2]) == 1.0
