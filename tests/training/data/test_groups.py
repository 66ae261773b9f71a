"""Groups: which documents they hold, and which are dropped."""

import random
from pathlib import Path

import pytest

from slimrank.bm25 import BM25
from slimrank.errors import DataError
from slimrank.evaluation.beir import Collection, Document
from training.data.groups import Group, Mining, drop_false_negatives, hold_out, labelled_groups, read_groups, write_groups
from training.data.synthetic import from_keywords, from_sentences, from_templates, from_titles


def collection() -> Collection:
    documents = {f"d{n}": Document(f"d{n}", f"river {n}", f"the river number {n} is long and has {n} bridges") for n in range(30)}
    return Collection("rivers", documents, {"q": "river bridges"}, {"q": {"d3": 2, "d4": 1, "d5": 0, "absent": 1}})


def index_of(rivers: Collection) -> BM25:
    return BM25({doc_id: document.content for doc_id, document in rivers.documents.items()})


def test_a_group_holds_the_best_positive_and_hits_that_are_not_positive() -> None:
    rivers = collection()
    (group,) = labelled_groups(rivers, ["q"], index_of(rivers), Mining(group_size=6, max_positives=1), random.Random(0))
    assert group.doc_ids[0] == "d3"
    assert len(group.doc_ids) == len(set(group.doc_ids)) == 6
    assert "d4" not in group.doc_ids
    assert group.relevance[0] == 2
    assert all(not grade for grade in group.relevance[1:])
    found = list(index_of(rivers).search(rivers.queries["q"], 50))
    assert [rank and found[rank - 1] for rank in group.ranks] == list(group.doc_ids)


def test_the_same_seed_makes_the_same_groups() -> None:
    rivers = collection()
    made = [list(labelled_groups(rivers, ["q"], index_of(rivers), Mining(), random.Random(3))) for _ in range(2)]
    assert made[0] == made[1]


def test_unjudged_documents_that_the_teacher_scores_above_the_positive_are_dropped() -> None:
    group = Group(
        "s", "q", "q", ("a", "b", "c", "d"), ("A", "B", "C", "D"), (1, None, 0, None), (0.6, 0.7, 0.8, 0.5), (None, 1, 2, 3)
    )
    kept = drop_false_negatives(group, 0.0)
    assert (kept.doc_ids, kept.ranks) == (("a", "c", "d"), (None, 2, 3))
    assert drop_false_negatives(group, 0.2).doc_ids == ("a", "b", "c", "d")


def test_groups_are_read_as_they_were_written(tmp_path: Path) -> None:
    group = Group("s", "q", "snö", ("a", "b", "c"), ("A", "B", "C"), (1, None, 0), (0.5, 0.25, 0.125))
    write_groups(tmp_path / "groups.jsonl", [group])
    assert read_groups(tmp_path / "groups.jsonl") == [group]


def test_an_empty_file_of_groups_is_refused(tmp_path: Path) -> None:
    (tmp_path / "groups.jsonl").touch()
    with pytest.raises(DataError, match="holds no training groups"):
        read_groups(tmp_path / "groups.jsonl")


def test_a_line_that_is_not_a_group_is_named(tmp_path: Path) -> None:
    (tmp_path / "groups.jsonl").write_text('{"query": "x"}\n')
    with pytest.raises(DataError, match=r"groups\.jsonl:1"):
        read_groups(tmp_path / "groups.jsonl")


def test_the_same_seed_holds_out_the_same_queries() -> None:
    ids = [str(n) for n in range(100)]
    assert hold_out(ids, 10, 7) == hold_out(reversed(ids), 10, 7)
    assert len(hold_out(ids, 10, 7)) == 10


def test_the_shown_source_of_a_made_query_does_not_contain_the_query() -> None:
    documents = [
        Document("d", "how a river meets the sea", "It flows down hill. A delta forms at the mouth of it. Sand settles there.")
    ]
    (title,) = from_titles(documents, 1, random.Random(0))
    assert (title.text, title.source_text) == ("how a river meets the sea", documents[0].text)
    (sentence,) = from_sentences(documents, 1, random.Random(0))
    assert sentence.text not in sentence.source_text
    (question,) = from_templates(documents, ["what is {title}"], 1, random.Random(0))
    assert question.text == "what is how a river meets the sea"


def test_keywords_tell_the_text_from_others_and_stand_in_its_order() -> None:
    common = "the river is long and the boats go there"
    documents = [
        Document("a", "A weir", f"{common} past a weir of Xylq and a lock"),
        *(Document(f"b{n}", "B", f"{common} under a weir and a lock") for n in range(2)),
        *(Document(f"c{n}", "C", common) for n in range(9)),
    ]
    queries = {query.source_id: query for query in from_keywords(documents, 12, random.Random(1))}
    words = queries["a"].text.split()
    assert words[0] == "weir"
    assert "xylq" not in words
    assert queries["a"].source_text == documents[0].content
    assert 2 <= len(words) <= 5


def test_no_keywords_are_made_of_a_text_that_shares_no_words() -> None:
    assert not from_keywords([Document("a", "A", "weir lock"), Document("b", "B", "goat snow")], 2, random.Random(1))


@pytest.mark.parametrize(
    "sentence",
    [
        "This is why the boats of the river stop.",
        "Boats stop here.",
        "The boats of the river above stop there.",
        "or the boats of the river stop.",
    ],
)
def test_a_sentence_that_does_not_stand_alone_becomes_no_query(sentence: str) -> None:
    document = Document("d", "The river", f"{sentence} Go on. Go back.")
    assert not from_sentences([document], 1, random.Random(0))
