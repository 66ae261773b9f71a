import asyncio

import pytest
from rerankers import Document

from connector.frameworks.rerankers import SlimrankRanker
from slimrank.errors import InvalidRequest, ScoringError
from tests.connector.frameworks.conftest import BEST_FIRST, QUERY, TEXTS, TiedScorer
from tests.doubles import FakeScorer


def places(found: object) -> list[int]:
    return [result.doc_id for result in found]  # type: ignore[attr-defined]


def test_the_best_documents_come_first_with_score_and_rank(scorer: object) -> None:
    found = SlimrankRanker(scorer).rank(QUERY, TEXTS)  # type: ignore[arg-type]
    assert places(found) == BEST_FIRST
    assert [result.rank for result in found] == [1, 2, 3, 4, 5]
    assert [result.text for result in found.top_k(2)] == [TEXTS[4], TEXTS[2]]


def test_scores_are_matched_by_index_and_not_by_place(unsorted: object) -> None:
    found = SlimrankRanker(unsorted).rank(QUERY, TEXTS, doc_ids=["a", "b", "c", "d", "e"])  # type: ignore[arg-type]
    assert [(result.doc_id, result.score) for result in found] == [("e", 5.0), ("c", 4.0), ("b", 3.0), ("d", 2.0), ("a", 1.0)]
    assert found.get_score_by_docid("a") == 1.0


def test_their_documents_keep_their_ids_and_metadata(scorer: object) -> None:
    documents = [Document(text, doc_id=f"d{place}", metadata={"n": place}) for place, text in enumerate(TEXTS)]
    found = SlimrankRanker(scorer).rank(QUERY, documents)  # type: ignore[arg-type]
    assert [(result.doc_id, result.metadata["n"]) for result in found] == [(f"d{place}", place) for place in BEST_FIRST]


def test_the_ranker_can_be_awaited(scorer: object) -> None:
    assert places(asyncio.run(SlimrankRanker(scorer).rank_async(QUERY, TEXTS))) == BEST_FIRST  # type: ignore[arg-type]


def test_a_failure_raises_or_keeps_the_order() -> None:
    with pytest.raises(ScoringError):
        SlimrankRanker(FakeScorer()).rank("fail", TEXTS)
    kept = SlimrankRanker(FakeScorer(), on_failure="keep_order").rank("fail", TEXTS)
    assert places(kept) == [0, 1, 2, 3, 4]
    assert not kept.has_scores


def test_zero_and_one_document_work(scorer: object) -> None:
    ranker = SlimrankRanker(scorer)  # type: ignore[arg-type]
    assert places(ranker.rank(QUERY, [])) == []
    lone = ranker.rank(QUERY, TEXTS[2])
    assert (lone[0].rank, lone[0].text) == (1, TEXTS[2])
    assert ranker.score(QUERY, TEXTS[2]) == pytest.approx(lone[0].score)


def test_ties_keep_the_order() -> None:
    assert places(SlimrankRanker(TiedScorer()).rank(QUERY, TEXTS)) == [0, 1, 2, 3, 4]


def test_the_ranker_can_become_a_langchain_compressor(scorer: object) -> None:
    from langchain_core.documents import Document as LangchainDocument

    compressor = SlimrankRanker(scorer).as_langchain_compressor(k=1)  # type: ignore[arg-type]
    found = compressor.compress_documents([LangchainDocument(page_content=text) for text in TEXTS], QUERY)
    assert [document.page_content for document in found] == [TEXTS[4]]


def test_the_order_of_a_list_is_a_prior_only_with_first_stage_order(first_stage_reranker: object) -> None:
    assert places(SlimrankRanker(first_stage_reranker).rank(QUERY, TEXTS)) == BEST_FIRST  # type: ignore[arg-type]
    fused = SlimrankRanker(first_stage_reranker, first_stage_order=True)  # type: ignore[arg-type]
    assert places(fused.rank(QUERY, TEXTS)) == [0, 1, 2, 3, 4]


def test_a_langchain_compressor_keeps_the_rankers_first_stage_order(first_stage_reranker: object) -> None:
    from langchain_core.documents import Document as LangchainDocument

    documents = [LangchainDocument(page_content=text) for text in TEXTS]
    for first_stage_order, expected in ((False, BEST_FIRST), (True, [0, 1, 2, 3, 4])):
        ranker = SlimrankRanker(first_stage_reranker, first_stage_order=first_stage_order)  # type: ignore[arg-type]
        found = ranker.as_langchain_compressor().compress_documents(documents, QUERY)
        assert [document.page_content for document in found] == [TEXTS[place] for place in expected]


@pytest.mark.parametrize("as_documents", [False, True], ids=["texts", "documents"])
def test_metadata_and_ids_can_be_given_beside_the_documents(as_documents: bool) -> None:
    given = [Document(text) if as_documents else text for text in TEXTS]
    metadata = [{"n": place} for place in range(5)]
    ranker = SlimrankRanker(FakeScorer())
    found = ranker.rank(QUERY, given, doc_ids=["a", "b", "c", "d", "e"], metadata=metadata)  # type: ignore[arg-type]
    assert [(result.doc_id, result.metadata["n"]) for result in found] == [("abcde"[place], place) for place in BEST_FIRST]
    awaited = asyncio.run(ranker.rank_async(QUERY, given, metadata=metadata))  # type: ignore[arg-type]
    assert [result.metadata["n"] for result in awaited] == BEST_FIRST


@pytest.mark.parametrize("name", ["doc_ids", "metadata"])
@pytest.mark.parametrize("entries", [[], [{}], [{}] * 6])
def test_a_list_of_the_wrong_length_is_refused_with_a_clear_message(name: str, entries: list[dict]) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} has {len(entries)} entries for 5 documents; pass one for each document"):
        SlimrankRanker(FakeScorer()).rank(QUERY, TEXTS, **{name: entries})


def test_an_image_is_refused_with_a_clear_message() -> None:
    image = Document(document_type="image", image_path="cat.png")
    with pytest.raises(InvalidRequest, match=r"docs\[1\] is of type image and has no text"):
        SlimrankRanker(FakeScorer()).rank(QUERY, [Document("a cat"), image])


@pytest.mark.parametrize("query", [QUERY, "fail"], ids=["scored", "kept"])
def test_the_given_documents_are_not_changed_and_not_shared(query: str) -> None:
    given = [Document(text, metadata={"tags": ["first"]}) for text in TEXTS]
    metadata = [{"tags": ["second"]} for _ in TEXTS]
    ranker = SlimrankRanker(FakeScorer(), on_failure="keep_order")
    for result in ranker.rank(query, given, doc_ids=range(5), metadata=metadata):
        result.document.metadata["tags"].append("changed by the caller")
    for result in ranker.rank(query, given):
        result.document.metadata["tags"].append("changed by the caller")
    assert [(document.doc_id, document.metadata) for document in given] == [(None, {"tags": ["first"]})] * 5
    assert metadata == [{"tags": ["second"]}] * 5
