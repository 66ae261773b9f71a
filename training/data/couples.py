"""The data of stage 1: couples of a relevant and an irrelevant document of one query, made from the groups of stage 2.

A reward is given for a couple, because a model that gives every document the same answer is wrong on one document of
each couple. The irrelevant document becomes more difficult during training (``config.LevelConfig``): first a stranger,
which is a document of another group, then hits of the first stage at ranks 10-50, then at ranks 2-10. Rank 1 is
left out, since it is often relevant but not judged.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from slimrank.errors import DataError
from training.config import LevelConfig
from training.data.groups import Group


@dataclass(frozen=True, slots=True)
class Pair:
    """One query, one document, and whether it is relevant."""

    query: str
    document: str
    relevant: bool


@dataclass(frozen=True, slots=True)
class Couple:
    """A relevant and an irrelevant document of one query."""

    query: str
    relevant: str
    irrelevant: str


def pairs_of(couples: Sequence[Couple]) -> list[Pair]:
    """Return both pairs of each couple side by side, the relevant one first."""
    return [
        Pair(couple.query, document, relevant)
        for couple in couples
        for document, relevant in ((couple.relevant, True), (couple.irrelevant, False))
    ]


class CoupleSource:
    """Draws the couples of a step; the draw depends only on the seed and the step.

    Args:
        groups: Training groups; those without a judged positive are left out.
        seed: The seed of the order of groups and of every draw.

    Raises:
        DataError: no group has a judged positive.
    """

    def __init__(self, groups: Sequence[Group], seed: int) -> None:
        self.groups = [group for group in groups if any(group.relevance)]
        if not self.groups:
            raise DataError("no training group has a judged positive; stage 1 learns from labels only")
        self._seed = seed
        self._of_source: dict[str, list[Group]] = {}
        for group in self.groups:
            self._of_source.setdefault(group.source, []).append(group)

    def split(self, count: int) -> "tuple[CoupleSource, CoupleSource]":
        """Return a source of ``count`` groups for dev, drawn by the seed, and a source of the other groups."""
        order = list(self.groups)
        random.Random(self._seed).shuffle(order)
        if len(order) <= count:
            raise DataError(f"{len(order)} groups have a judged positive, and {count} must be held out; prepare more groups")
        return CoupleSource(order[:count], self._seed), CoupleSource(order[count:], self._seed)

    def check(self, level: LevelConfig, needed: int) -> None:
        """Check that enough groups have a couple at this level.

        Raises:
            DataError: fewer than ``needed`` groups have one.
        """
        found = len(self.at_level(level))
        if found < needed:
            hint = "" if any(group.ranks for group in self.groups) else "; these groups hold no ranks, prepare them again"
            raise DataError(f"a step needs {needed} couples, and {found} groups have one at the level {level.name}{hint}")

    def at_level(self, level: LevelConfig) -> list[Couple]:
        """Return one couple of every group that has one at this level."""
        drawn = [self._draw(group, level, random.Random(f"{self._seed}-{n}")) for n, group in enumerate(self.groups)]
        return [couple for couple in drawn if couple is not None]

    def at_step(self, step: int, count: int, level: LevelConfig) -> list[Couple]:
        """Return the couples of a 1-based step, from the next ``count`` groups that have one; each epoch has a new order."""
        couples: list[Couple] = []
        for place in range((step - 1) * count, (step - 1) * count + len(self.groups)):
            epoch, index = divmod(place, len(self.groups))
            rng = random.Random(f"{self._seed}-{step}-{place}")
            easy = LevelConfig() if rng.random() < level.strangers else level
            couple = self._draw(self._order(epoch)[index], easy, rng)
            if couple is not None:
                couples.append(couple)
            if len(couples) == count:
                break
        return couples

    def _order(self, epoch: int) -> list[Group]:
        order = list(self.groups)
        random.Random(f"{self._seed}-{epoch}").shuffle(order)
        return order

    def _draw(self, group: Group, level: LevelConfig, rng: random.Random) -> Couple | None:
        positives = [text for text, grade in zip(group.documents, group.relevance, strict=True) if grade]
        others = self._strangers(group, rng) if level.ranks is None else _hits(group, *level.ranks)
        return Couple(group.query, rng.choice(positives), rng.choice(others)) if others else None

    def _strangers(self, group: Group, rng: random.Random) -> list[str]:
        """Return documents of another group that are not in this group; prefer a group of the same collection."""
        for pool in (self._of_source[group.source], self.groups):
            for other in rng.sample(pool, len(pool)):
                texts = [text for text in other.documents if text not in group.documents]
                if texts:
                    return texts
        return []


def _hits(group: Group, low: int, high: int) -> list[str]:
    ranked = zip(group.documents, group.relevance, group.ranks, strict=True) if group.ranks else ()
    return [text for text, grade, rank in ranked if not grade and rank is not None and low <= rank <= high]
