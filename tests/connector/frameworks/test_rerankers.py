import asyncio

import pytest
from rerankers import Document

from connector.frameworks.rerankers import SlimrankRanker
from slimrank.errors import ScoringError
from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS, TiedScorer
from tests.doubles import FakeScorer


def places(found: object) -> list[int]:
    return [result.doc_id for result in found]  # type: ignore[attr-defined]


def test_the_best_documents_come_first_with_score_and_rank(scorer: object) -> None:
    found = SlimrankRanker(scorer).rank(QUERY, TEXTS)  # type: ignore[arg-type]
    assert places(found) == BEST_FIRST
    assert [result.rank for result in found] == [1, 2, 3, 4, 5]
    assert [result.text for result in found.top_k(2)] == [TEXTS[4], TEXTS[2]]


def test_indices_count_and_not_places_in_the_answer(unsorted: object) -> None:
    found = SlimrankRanker(unsorted).rank(QUERY, TEXTS, doc_ids=["a", "b", "c", "d", "e"])  # type: ignore[arg-type]
    assert [(result.doc_id, result.score) for result in found] == [("e", 5.0), ("c", 4.0), ("b", 3.0), ("d", 2.0), ("a", 1.0)]
    assert found.get_score_by_docid("a") == 1.0


def test_their_documents_keep_their_ids_and_metadata(scorer: object) -> None:
    documents = [Document(text, doc_id=f"d{place}", metadata={"n": place}) for place, text in enumerate(TEXTS)]
    found = SlimrankRanker(scorer).rank(QUERY, documents)  # type: ignore[arg-type]
    assert [(result.doc_id, result.metadata["n"]) for result in found] == [(f"d{place}", place) for place in BEST_FIRST]


def test_it_can_be_awaited(scorer: object) -> None:
    assert places(asyncio.run(SlimrankRanker(scorer).rank_async(QUERY, TEXTS))) == BEST_FIRST  # type: ignore[arg-type]


def test_a_failure_raises_or_keeps_the_order() -> None:
    with pytest.raises(ScoringError):
        SlimrankRanker(FakeScorer()).rank("fail", TEXTS)
    kept = SlimrankRanker(FakeScorer(), on_failure="keep_order").rank("fail", TEXTS)
    assert places(kept) == [0, 1, 2, 3, 4]
    assert not kept.has_scores


def test_none_and_one_document(scorer: object) -> None:
    ranker = SlimrankRanker(scorer)  # type: ignore[arg-type]
    assert places(ranker.rank(QUERY, [])) == []
    lone = ranker.rank(QUERY, TEXTS[2])
    assert (lone[0].rank, lone[0].text) == (1, TEXTS[2])
    assert ranker.score(QUERY, TEXTS[2]) == pytest.approx(lone[0].score)


def test_ties_keep_the_order() -> None:
    assert places(SlimrankRanker(TiedScorer()).rank(QUERY, TEXTS)) == [0, 1, 2, 3, 4]


def test_it_becomes_a_langchain_compressor(scorer: object) -> None:
    from langchain_core.documents import Document as LangchainDocument

    compressor = SlimrankRanker(scorer).as_langchain_compressor(k=1)  # type: ignore[arg-type]
    found = compressor.compress_documents([LangchainDocument(page_content=text) for text in TEXTS], QUERY)
    assert [document.page_content for document in found] == [TEXTS[4]]


def test_the_order_of_any_list_is_a_prior_only_where_it_is_said(first_stage_reranker: object) -> None:
    assert places(SlimrankRanker(first_stage_reranker).rank(QUERY, TEXTS)) == BEST_FIRST  # type: ignore[arg-type]
    fused = SlimrankRanker(first_stage_reranker, first_stage_order=True)  # type: ignore[arg-type]
    assert places(fused.rank(QUERY, TEXTS)) == [0, 1, 2, 3, 4]
