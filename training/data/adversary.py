"""Adversarial negatives: irrelevant documents of a group with the query pasted in.

The model must learn that pasted text says nothing about relevance. So in half of these groups the query is also pasted once
into a relevant document, and a negative keeps the teacher's score that it had before. Two negatives of a group are attacked:
the first by one of the attacks that are hardest to detect, the second by any attack.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from slimrank.evaluation.hostile_texts import MARK, PASTING, forged_answer, is_hostile, query_once
from training.data.groups import Group

HARDEST = (query_once, query_once, forged_answer)
"""The first attack on a group is one of these. After training with 1,900 pairs, each with one attack of any kind, these two still
beat 10 and 8 of 20 relevant documents, and the other attacks beat 2."""


def with_hostile(groups: Iterable[Group], share: float, rng: random.Random) -> Iterator[Group]:
    """Yield the groups; in ``share`` of them, attack two irrelevant documents, or one if there is only one."""
    for group in groups:
        yield _attacked(group, rng) if rng.random() < share else group


def _attacked(group: Group, rng: random.Random) -> Group:
    irrelevant = [place for place, grade in enumerate(group.relevance) if not grade]
    positive = [place for place, grade in enumerate(group.relevance) if grade]
    if not irrelevant:
        return group
    # An unjudged hit may be relevant, so prefer the teacher's lowest scores or the hits that are judged irrelevant.
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
