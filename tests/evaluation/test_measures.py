"""Measures against hand-worked rankings."""

from math import log2

import pytest

from slimrank.errors import DataError
from slimrank.evaluation import measures

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"x": 1}}


def test_ndcg_uses_linear_gain_over_the_ideal_of_all_judged_documents() -> None:
    run = {"q1": {"b": 3.0, "c": 2.0, "a": 1.0}, "q2": {"x": 1.0}}
    expected = (1 / log2(2) + 2 / log2(4)) / (2 / log2(2) + 1 / log2(3))
    assert measures.per_query(QRELS, run)["nDCG@10"]["q1"] == pytest.approx(expected)


def test_a_judged_query_without_results_counts_zero() -> None:
    assert measures.mean(QRELS, {"q1": {"a": 2.0, "b": 1.0}}) == pytest.approx({"nDCG@10": 0.5, "RR@10": 0.5, "Judged@10": 0.5})


def test_judged_is_the_share_of_the_top_with_a_judgment() -> None:
    run = {"q1": {"a": 4.0, "unknown": 3.0, "c": 2.0, "other": 1.0}, "q2": {"x": 1.0}}
    assert measures.per_query(QRELS, run, ["Judged@4"])["Judged@4"]["q1"] == 0.5


def test_ties_are_broken_by_the_order_given_and_not_by_document_ids() -> None:
    first = measures.mean(QRELS, {"q2": {"x": 1.0, "z": 1.0}}, ["RR@10"])
    second = measures.mean(QRELS, {"q2": {"z": 1.0, "x": 1.0}}, ["RR@10"])
    assert (first["RR@10"], second["RR@10"]) == (0.5, 0.25)


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(DataError, match="nDCG@10"):
        measures.mean(QRELS, {}, ["nonsense"])
