import pandas as pd
import pyterrier as pt
import pytest

from connector.frameworks.pyterrier import SlimrankTransformer
from slimrank.errors import InvalidRequest, ScoringError
from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS, TiedScorer
from tests.doubles import FakeScorer


def frame(*queries: str, count: int = 5) -> pd.DataFrame:
    rows = [
        {
            "qid": f"q{number}",
            "query": query,
            "docno": f"d{place}",
            "text": text,
            "score": 5.0 - place,
            "rank": place,
            "url": f"u{place}",
        }
        for number, query in enumerate(queries)
        for place, text in enumerate(TEXTS[:count])
    ]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "score", "rank", "url"])


def places(found: pd.DataFrame) -> list[int]:
    return [int(docno[1:]) for docno in found["docno"]]


def test_each_query_gets_new_scores_and_ranks(scorer: object) -> None:
    found = SlimrankTransformer(scorer)(frame(QUERY, "silver"))  # type: ignore[arg-type]
    first, second = found[found["qid"] == "q0"], found[found["qid"] == "q1"]
    assert places(first) == BEST_FIRST
    assert places(second)[0] == 3
    assert list(first["rank"]) == [0, 1, 2, 3, 4]
    assert list(first["score"]) == sorted(first["score"], reverse=True)
    assert list(first["url"]) == [f"u{place}" for place in BEST_FIRST]


def test_scores_are_matched_by_index_and_not_by_place(unsorted: object) -> None:
    found = SlimrankTransformer(unsorted)(frame(QUERY))  # type: ignore[arg-type]
    assert list(zip(places(found), found["score"], strict=True)) == [(4, 5.0), (2, 4.0), (1, 3.0), (3, 2.0), (0, 1.0)]


def test_a_frame_is_read_by_rows_even_if_its_index_differs_from_the_row_numbers(scorer: object) -> None:
    given = frame("silver", QUERY).iloc[5:]
    assert places(SlimrankTransformer(scorer)(given)) == BEST_FIRST  # type: ignore[arg-type]


def test_a_failure_raises_or_keeps_the_order() -> None:
    with pytest.raises(ScoringError):
        SlimrankTransformer(FakeScorer())(frame("fail"))
    kept = SlimrankTransformer(FakeScorer(), on_failure="keep_order")(frame("fail"))
    assert places(kept) == [0, 1, 2, 3, 4]
    assert list(kept["score"]) == sorted(kept["score"], reverse=True)


@pytest.mark.parametrize("count", [0, 1])
def test_zero_and_one_document_work(scorer: object, count: int) -> None:
    found = SlimrankTransformer(scorer)(frame(QUERY, count=count))  # type: ignore[arg-type]
    assert places(found) == list(range(count))
    assert {"score", "rank"} <= set(found.columns)


def test_ties_keep_the_order() -> None:
    assert places(SlimrankTransformer(TiedScorer())(frame(QUERY))) == [0, 1, 2, 3, 4]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidRequest, match="no column text"):
        SlimrankTransformer(FakeScorer()).transform(frame(QUERY).drop(columns="text"))


def test_the_transformer_works_in_a_pipeline(scorer: object) -> None:
    first_stage = pt.Transformer.from_df(frame(QUERY), uniform=True)
    pipeline = (first_stage % 3) >> SlimrankTransformer(scorer)  # type: ignore[arg-type]
    assert places(pipeline.transform(pd.DataFrame([{"qid": "q0", "query": QUERY}]))) == [2, 1, 0]


def test_the_rank_is_a_prior_by_default_if_it_is_present(first_stage_reranker: object) -> None:
    fused = SlimrankTransformer(first_stage_reranker)  # type: ignore[arg-type]
    assert places(fused(frame(QUERY).iloc[::-1])) == [0, 1, 2, 3, 4]
    assert places(fused(frame(QUERY).drop(columns=["rank", "score"]))) == BEST_FIRST
    plain = SlimrankTransformer(first_stage_reranker, first_stage_order=False)  # type: ignore[arg-type]
    assert places(plain(frame(QUERY))) == BEST_FIRST


def test_the_given_frame_is_not_changed() -> None:
    given = frame(QUERY, "silver")
    before = given.copy(deep=True)
    SlimrankTransformer(FakeScorer())(given)["text"] = "changed by the caller"
    pd.testing.assert_frame_equal(given, before)
