"""Negatives that were written to win: irrelevant documents of a group with the query pasted in.

What is wanted is that the pasting tells nothing. So in half of these groups the query is pasted once into the relevant
document too, and a negative keeps the teacher's score that it had before, if it had one. Two negatives are attacked: one by
what is hardest to see through, the query once, and one by any attack.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from slimrank.hostile import MARK, PASTING, forged_answer, is_hostile, query_once
from training.data import Group

HARDEST = (query_once, query_once, forged_answer)
"""A group's first attack is one of these: after 1,900 pairs of training with one attack of any kind they still beat 10 and 8 of
20 relevant documents, the others 2."""


def with_hostile(groups: Iterable[Group], share: float, rng: random.Random) -> Iterator[Group]:
    """Yield the groups, in ``share`` of them two irrelevant documents attacked, or the one that there is."""
    for group in groups:
        yield _attacked(group, rng) if rng.random() < share else group


def _attacked(group: Group, rng: random.Random) -> Group:
    irrelevant = [place for place, grade in enumerate(group.relevance) if not grade]
    positive = [place for place, grade in enumerate(group.relevance) if grade]
    if not irrelevant:
        return group
    # An unjudged hit may be relevant: take what is judged irrelevant, or what the teacher likes least.
    victims = sorted(
        irrelevant, key=lambda place: group.teacher[place] if group.teacher else (group.relevance[place] is None, -place)
    )
    doc_ids, documents, relevance = list(group.doc_ids), list(group.documents), list(group.relevance)
    for victim, attacks in zip(victims, (HARDEST, PASTING), strict=False):
        doc_ids[victim] = MARK + doc_ids[victim]
        documents[victim] = rng.choice(attacks)(group.query, documents[victim])
        relevance[victim] = 0
    ranks = tuple(None if is_hostile(doc_id) else rank for doc_id, rank in zip(doc_ids, group.ranks, strict=False))
    if positive and rng.random() < 0.5:
        lucky = rng.choice(positive)
        documents[lucky] = query_once(group.query, documents[lucky])
    return replace(group, doc_ids=tuple(doc_ids), documents=tuple(documents), relevance=tuple(relevance), ranks=ranks)
