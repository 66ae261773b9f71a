"""Several teachers combined into one, adversarial negatives, and hybrid search."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from slimrank.evaluation.beir import Collection, Document
from slimrank.evaluation.hostile_texts import MARK
from training.data.adversary import with_hostile
from training.data.ensemble import combine, first_stage_scores, taught
from training.data.groups import Group
from training.data.hybrid import fuse, hybrid_run

GROUP = Group(
    "s", "q", "red shoes", ("a", "b", "c", "d"), ("A", "B", "C", "D"), (1, None, 0, None), (0.9, 0.8, 0.3, 0.2), (2, 1, None, 9)
)


def test_the_scores_of_a_single_teacher_are_unchanged() -> None:
    assert combine([[[0.1, 0.4], [0.3, 0.2]]]) == [[0.1, 0.4], [0.3, 0.2]]


def test_teachers_with_different_scales_have_the_same_weight_and_the_first_teachers_scale_stays() -> None:
    first, second = [[0.5, 0.6, 0.7], [0.4, 0.4, 0.5]], [[30.0, 20.0, 10.0], [0.0, 0.0, 10.0]]
    (opposed, agreed) = combine([first, second])
    assert opposed == pytest.approx([0.6, 0.6, 0.6], abs=1e-6)
    assert agreed[2] > agreed[0] == pytest.approx(agreed[1])
    spread = np.sqrt(np.mean([np.var(scores) for scores in combine([first, first])]))
    assert spread == pytest.approx(np.sqrt(np.mean([np.var(scores) for scores in first])))


def test_a_group_with_equal_scores_keeps_equal_scores() -> None:
    flat, _ = combine([[[0.5, 0.5], [0.1, 0.9]], [[2.0, 2.0], [1.0, 3.0]]])
    assert flat == pytest.approx([0.5, 0.5])


def test_the_first_stage_as_a_teacher_prefers_its_first_hits() -> None:
    assert first_stage_scores(GROUP) == pytest.approx([-math.log(2), 0.0, -math.log(10), -math.log(9)])
    assert first_stage_scores(replace(GROUP, ranks=())) == [0.0] * 4


def test_a_hostile_document_gets_the_lowest_teacher_score() -> None:
    group = replace(GROUP, doc_ids=("a", MARK + "b", "c", "d"))
    assert taught(group, [0.5, 0.99, 0.25, 0.125]).teacher == (0.5, 0.125, 0.25, 0.125)


def test_the_two_documents_with_the_lowest_scores_are_attacked_and_keep_their_scores() -> None:
    (group,) = with_hostile([GROUP], 1.0, random.Random(0))
    assert group.doc_ids == ("a", "b", MARK + "c", MARK + "d")
    assert all("red shoes" in document for document in group.documents[2:])
    assert (group.relevance, group.teacher, group.ranks) == ((1, None, 0, 0), GROUP.teacher, (2, 1, None, None))
    assert group.documents[1] == GROUP.documents[1]


def test_without_a_teacher_judged_irrelevant_documents_are_attacked_before_the_last_hit() -> None:
    (group,) = with_hostile([replace(GROUP, teacher=())], 1.0, random.Random(0))
    assert group.doc_ids == ("a", "b", MARK + "c", MARK + "d")
    (group,) = with_hostile([replace(GROUP, relevance=(1, 0, None, None), teacher=())], 1.0, random.Random(0))
    assert group.doc_ids == ("a", MARK + "b", "c", MARK + "d")


def test_the_first_attack_contains_the_query_once() -> None:
    groups = list(with_hostile([GROUP] * 100, 1.0, random.Random(0)))
    assert all(group.documents[3].count("red shoes") == 1 for group in groups)
    assert any(group.documents[2].count("red shoes") > 1 for group in groups)


def test_half_of_the_relevant_documents_contain_the_pasted_query_too() -> None:
    groups = list(with_hostile([GROUP] * 100, 1.0, random.Random(0)))
    pasted = sum(group.documents[0] == "red shoes A" for group in groups)
    assert 30 < pasted < 70
    assert all(group.documents[0] in ("A", "red shoes A") for group in groups)


def test_a_share_of_the_groups_is_attacked() -> None:
    groups = list(with_hostile([GROUP] * 200, 0.25, random.Random(0)))
    assert 25 < sum(group != GROUP for group in groups) < 75


def test_fusion_adds_reciprocal_ranks() -> None:
    fused = fuse([["a", "b", "c"], ["c", "a"]], 2)
    assert list(fused) == ["a", "c"]
    assert fused["a"] == pytest.approx(1 / 61 + 1 / 62)


class Letters:
    """Embeds a text as the counts of its letters."""

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        return self.encode_documents(queries)

    def encode_documents(self, documents: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in documents], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_hybrid_search_finds_a_document_that_shares_no_word_with_the_query() -> None:
    texts = {"d1": "tulip garden", "d2": "rose bush", "d3": "tulips gardens", "d4": "xyz"}
    collection = Collection("c", {name: Document(name, "", text) for name, text in texts.items()}, {"q": "rose gardne"}, {})
    run = hybrid_run(collection, ["q"], Letters(), depth=3)  # type: ignore[arg-type]
    assert set(run["q"]) == {"d1", "d2", "d3"}
    assert next(iter(run["q"])) == "d2"
