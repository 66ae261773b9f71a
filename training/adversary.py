"""Negatives that were written to win: irrelevant documents of a group with the query pasted in.

What is wanted is that the pasting tells nothing. So in half of these groups the query is pasted once into the relevant
document too, and a negative keeps the teacher's score that it had before, if it had one.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from slimrank.hostile import MARK, PASTING, query_once
from training.data import Group


def with_hostile(groups: Iterable[Group], share: float, rng: random.Random) -> Iterator[Group]:
    """Yield the groups, in ``share`` of them one irrelevant document attacked."""
    for group in groups:
        yield _attacked(group, rng) if rng.random() < share else group


def _attacked(group: Group, rng: random.Random) -> Group:
    irrelevant = [place for place, grade in enumerate(group.relevance) if not grade]
    positive = [place for place, grade in enumerate(group.relevance) if grade]
    if not irrelevant:
        return group
    if group.teacher:  # an unjudged hit may be relevant: take what the teacher likes least
        victim = min(irrelevant, key=lambda place: group.teacher[place])
    else:
        victim = max(irrelevant, key=lambda place: (group.relevance[place] == 0, place))
    doc_ids, documents, relevance = list(group.doc_ids), list(group.documents), list(group.relevance)
    doc_ids[victim] = MARK + doc_ids[victim]
    documents[victim] = rng.choice(PASTING)(group.query, documents[victim])
    relevance[victim] = 0
    ranks = tuple(None if place == victim else rank for place, rank in enumerate(group.ranks))
    if positive and rng.random() < 0.5:
        lucky = rng.choice(positive)
        documents[lucky] = query_once(group.query, documents[lucky])
    return replace(group, doc_ids=tuple(doc_ids), documents=tuple(documents), relevance=tuple(relevance), ranks=ranks)
