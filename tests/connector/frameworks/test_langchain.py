import asyncio

import pytest
from langchain_core.documents import Document

from connector.frameworks.langchain import SlimrankCompressor
from slimrank.errors import ConfigError, ScoringError
from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS, TiedScorer
from tests.doubles import FakeScorer

DOCUMENTS = [Document(page_content=text, metadata={"n": number}, id=str(number)) for number, text in enumerate(TEXTS)]


def places(documents: object) -> list[int]:
    return [document.metadata["n"] for document in documents]  # type: ignore[attr-defined]


def test_the_best_documents_come_first_with_their_scores(scorer: object) -> None:
    found = SlimrankCompressor(scorer=scorer, top_n=3).compress_documents(DOCUMENTS, QUERY)
    assert places(found) == BEST_FIRST[:3]
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0].id == "4"
    assert "relevance_score" not in DOCUMENTS[4].metadata


def test_scores_are_matched_by_index_and_not_by_place(unsorted: object) -> None:
    found = SlimrankCompressor(scorer=unsorted).compress_documents(DOCUMENTS, QUERY)
    assert places(found) == [4, 2, 1, 3, 0]
    assert [document.metadata["relevance_score"] for document in found] == [5.0, 4.0, 3.0, 2.0, 1.0]


def test_the_compressor_can_be_awaited(scorer: object) -> None:
    assert places(asyncio.run(SlimrankCompressor(scorer=scorer).acompress_documents(DOCUMENTS, QUERY))) == BEST_FIRST


def test_a_failure_raises_or_keeps_the_order() -> None:
    with pytest.raises(ScoringError):
        SlimrankCompressor(scorer=FakeScorer()).compress_documents(DOCUMENTS, "fail")
    kept = SlimrankCompressor(scorer=FakeScorer(), on_failure="keep_order", top_n=2).compress_documents(DOCUMENTS, "fail")
    assert kept == DOCUMENTS[:2]


@pytest.mark.parametrize("count", [0, 1])
def test_zero_and_one_document_work(scorer: object, count: int) -> None:
    assert places(SlimrankCompressor(scorer=scorer).compress_documents(DOCUMENTS[:count], QUERY)) == list(range(count))


def test_ties_keep_the_order() -> None:
    assert places(SlimrankCompressor(scorer=TiedScorer()).compress_documents(DOCUMENTS, QUERY)) == [0, 1, 2, 3, 4]


def test_an_invalid_top_n_is_refused() -> None:
    with pytest.raises(ConfigError, match="top_n is 0"):
        SlimrankCompressor(scorer=FakeScorer(), top_n=0).compress_documents(DOCUMENTS, QUERY)


def test_the_compressor_works_in_a_chain(scorer: object) -> None:
    from langchain_core.runnables import RunnableLambda

    compressor = SlimrankCompressor(scorer=scorer, top_n=1)
    chain = RunnableLambda(lambda query: compressor.compress_documents(DOCUMENTS, query))
    assert places(chain.invoke(QUERY)) == [4]


def test_the_retrievers_order_is_a_prior_by_default(first_stage_reranker: object) -> None:
    fused = SlimrankCompressor(scorer=first_stage_reranker)
    assert places(fused.compress_documents(DOCUMENTS, QUERY)) == [0, 1, 2, 3, 4]
    plain = SlimrankCompressor(scorer=first_stage_reranker, first_stage_order=False)
    assert places(plain.compress_documents(DOCUMENTS, QUERY)) == BEST_FIRST


@pytest.mark.parametrize("query", [QUERY, "fail"], ids=["scored", "kept"])
def test_the_given_documents_are_not_changed_and_not_shared(query: str) -> None:
    given = [Document(page_content=text, metadata={"tags": ["first"]}) for text in TEXTS]
    for document in SlimrankCompressor(scorer=FakeScorer(), on_failure="keep_order").compress_documents(given, query):
        document.metadata["tags"].append("changed by the caller")
        document.metadata["n"] = 1
    assert [document.metadata for document in given] == [{"tags": ["first"]}] * len(TEXTS)
