"""Couples: their documents at each level, and the couples that a step draws."""

from dataclasses import replace

import pytest

from slimrank.errors import DataError
from training.config import LevelConfig
from training.data.couples import CoupleSource, pairs_of
from training.data.groups import Group

DEEP, TOP = LevelConfig(ranks=(10, 50)), LevelConfig(ranks=(2, 10))


def groups(count: int) -> list[Group]:
    return [
        Group(
            "s", str(n), f"q{n}", ("a", "b", "c", "d"), (f"good {n}", f"first {n}", f"near {n}", f"far {n}"),
            (1, None, 0, None), (), (3, 1, 7, 30),
        )
        for n in range(count)
    ]  # fmt: skip


def test_irrelevant_documents_come_from_the_ranks_of_the_level() -> None:
    source = CoupleSource(groups(4), 0)
    assert {couple.irrelevant.split()[0] for couple in source.at_level(TOP)} == {"near"}
    assert {couple.irrelevant.split()[0] for couple in source.at_level(DEEP)} == {"far"}
    assert {couple.relevant.split()[0] for couple in source.at_level(TOP)} == {"good"}


def test_a_stranger_belongs_to_another_query() -> None:
    for couple in CoupleSource(groups(6), 0).at_level(LevelConfig()):
        assert couple.irrelevant.split()[1] != couple.query.removeprefix("q")


def test_a_step_draws_the_same_couples_whatever_was_drawn_before() -> None:
    again = CoupleSource(groups(9), 7)
    expected = [again.at_step(step, 4, DEEP) for step in (1, 2, 3)]
    assert CoupleSource(groups(9), 7).at_step(3, 4, DEEP) == expected[2]
    assert len({couple.query for step in expected[:2] for couple in step}) == 8


def test_a_share_of_strangers_stays_among_hits() -> None:
    source = CoupleSource(groups(40), 7)
    drawn = source.at_step(1, 40, LevelConfig(ranks=(2, 10), strangers=0.5))
    near = sum(couple.irrelevant == f"near {couple.query.removeprefix('q')}" for couple in drawn)
    assert 5 < near < 35


def test_groups_without_hits_at_the_level_are_skipped_and_too_few_groups_are_refused() -> None:
    some = [replace(group, ranks=(3, 1, 7, 8)) for group in groups(3)] + groups(2)
    source = CoupleSource(some, 0)
    assert len(source.at_step(1, 4, DEEP)) == 2
    with pytest.raises(DataError, match="needs 4 couples, and 2 groups have one at the level hits_10_50"):
        source.check(DEEP, 4)


def test_groups_without_ranks_say_that_they_must_be_prepared_again() -> None:
    with pytest.raises(DataError, match="hold no ranks, prepare them again"):
        CoupleSource([replace(group, ranks=()) for group in groups(3)], 0).check(TOP, 1)


def test_stage_one_refuses_groups_without_labels() -> None:
    with pytest.raises(DataError, match="no training group has a judged positive"):
        CoupleSource([Group("s", "q", "q", ("a", "b"), ("A", "B"), (None, None))], 0)


def test_dev_and_train_share_no_group() -> None:
    dev, train = CoupleSource(groups(10), 7).split(3)
    assert len(dev.groups) == 3
    assert not {group.query for group in dev.groups} & {group.query for group in train.groups}
    with pytest.raises(DataError, match="10 must be held out"):
        CoupleSource(groups(10), 7).split(10)


def test_the_two_pairs_of_a_couple_are_neighbours() -> None:
    pairs = pairs_of(CoupleSource(groups(3), 0).at_level(TOP))
    assert [pair.relevant for pair in pairs] == [True, False] * 3
    assert all(first.query == second.query for first, second in zip(pairs[0::2], pairs[1::2], strict=True))
