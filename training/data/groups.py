"""Training groups: one query with its documents, labels and teacher scores.

Both stages train on groups. The documents of a group are labelled positives and hits of the first stage (the embedded
BM25, if it will be served): half of the hits from the top ten and half from deeper ranks, with hits that are judged 0
preferred. Unjudged hits that the teacher scores higher than the positives are dropped as suspected false negatives. Groups
are written as JSON lines.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from slimrank.errors import DataError
from slimrank.evaluation.beir import Collection
from slimrank.files import open_text, parse_json, replace_text
from training.data.synthetic import MadeQuery

TOP = 10
"""Half of a group's negatives come from ranks 1 to ``TOP``, the other half from deeper ranks."""


class FirstStage(Protocol):
    """A search that finds hits: the embedded BM25, a live index, or a recorded run of a search engine."""

    def search(self, query: str, depth: int) -> Mapping[str, float]:
        """Return up to ``depth`` doc_ids, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """One query and N documents.

    ``relevance`` holds the judged grade of each document, None = not judged. ``teacher`` holds the teacher's score of each
    document, or is empty. ``ranks`` holds the 1-based first-stage rank of each document, None = not found, or is empty.
    ``kind`` is the kind of text, as in the configuration.
    """

    source: str
    query_id: str
    query: str
    doc_ids: tuple[str, ...]
    documents: tuple[str, ...]
    relevance: tuple[int | None, ...]
    teacher: tuple[float, ...] = field(default=())
    ranks: tuple[int | None, ...] = field(default=())
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Mining:
    """How a group is made: its size, the depth of its hits, and the largest number of positives."""

    group_size: int = 8
    depth: int = 50
    max_positives: int = 2


def hold_out(query_ids: Iterable[str], count: int, seed: int) -> frozenset[str]:
    """Return ``count`` query ids that are held out of training; the same seed gives the same ids."""
    ordered = sorted(query_ids)
    return frozenset(random.Random(seed).sample(ordered, min(count, len(ordered))))


def labelled_groups(
    collection: Collection, query_ids: Sequence[str], first_stage: FirstStage, mining: Mining, rng: random.Random
) -> Iterator[Group]:
    """Yield a group for each query that has a judged positive and enough hits."""
    for query_id in query_ids:
        judged = {doc_id: grade for doc_id, grade in collection.qrels[query_id].items() if doc_id in collection.documents}
        positives = [doc_id for doc_id, grade in judged.items() if grade > 0]
        if not positives:
            continue
        best = max(judged[doc_id] for doc_id in positives)
        rng.shuffle(positives)
        chosen = sorted(positives, key=lambda doc_id: judged[doc_id] < best)[: mining.max_positives]
        ranks = _ranks(first_stage.search(collection.queries[query_id], mining.depth))
        hits = [doc_id for doc_id in ranks if doc_id in collection.documents]
        negatives = _negatives([d for d in hits if judged.get(d, 0) == 0], judged, mining.group_size - len(chosen), rng)
        doc_ids = tuple(chosen + negatives)
        if len(doc_ids) < 3:
            continue
        yield Group(
            source=collection.name,
            query_id=query_id,
            query=collection.queries[query_id],
            doc_ids=doc_ids,
            documents=tuple(collection.documents[doc_id].content for doc_id in doc_ids),
            relevance=tuple(judged.get(doc_id) for doc_id in doc_ids),
            ranks=tuple(ranks.get(doc_id) for doc_id in doc_ids),
        )


def made_groups(
    collection: Collection, made: Sequence[MadeQuery], first_stage: FirstStage, mining: Mining, rng: random.Random
) -> Iterator[Group]:
    """Yield a group for each made query; half of the groups, by chance, contain the query's source document."""
    for query in made:
        ranks = _ranks(first_stage.search(query.text, mining.depth))
        hits = [doc_id for doc_id in ranks if doc_id != query.source_id and doc_id in collection.documents]
        with_source = rng.random() < 0.5
        negatives = _negatives(hits, {}, mining.group_size - with_source, rng)
        if len(negatives) < 3:
            continue
        documents = tuple(collection.documents[doc_id].content for doc_id in negatives)
        lead = ((query.source_id,), (query.source_text,), (1,)) if with_source else ((), (), ())
        yield Group(
            source=f"{collection.name}-made",
            query_id=query.query_id,
            query=query.text,
            doc_ids=lead[0] + tuple(negatives),
            documents=lead[1] + documents,
            relevance=lead[2] + (None,) * len(negatives),
            ranks=tuple(ranks.get(doc_id) for doc_id in lead[0] + tuple(negatives)),
        )


def drop_false_negatives(group: Group, margin: float) -> Group:
    """Drop unjudged documents that the teacher scores above every judged positive by ``margin``."""
    positives = [score for score, grade in zip(group.teacher, group.relevance, strict=True) if grade]
    if not positives:
        return group
    limit = max(positives) + margin
    kept = [
        index
        for index, (score, grade) in enumerate(zip(group.teacher, group.relevance, strict=True))
        if grade is not None or score <= limit
    ]
    return replace(
        group,
        doc_ids=tuple(group.doc_ids[index] for index in kept),
        documents=tuple(group.documents[index] for index in kept),
        relevance=tuple(group.relevance[index] for index in kept),
        teacher=tuple(group.teacher[index] for index in kept),
        ranks=tuple(group.ranks[index] for index in kept) if group.ranks else (),
    )


def write_groups(path: Path, groups: Iterable[Group]) -> int:
    """Write groups as JSON lines; return how many."""
    count = 0
    with replace_text(path) as file:
        for group in groups:
            file.write(json.dumps(asdict(group), ensure_ascii=False) + "\n")
            count += 1
    return count


def read_groups(path: Path) -> list[Group]:
    """Read what ``write_groups`` wrote.

    Raises:
        DataError: the file holds no group, or a line is not a group.
    """
    groups = []
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                record = parse_json(line)
                groups.append(Group(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}))
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}:{number} is not a training group ({error}); make the file with `train prepare`"
                ) from error
    if not groups:
        raise DataError(f"{path} holds no training groups; make them with `slimrank train prepare`")
    return groups


def _ranks(found: Mapping[str, float]) -> dict[str, int]:
    """Return the 1-based rank of each hit, best first."""
    return {doc_id: rank for rank, doc_id in enumerate(found, start=1)}


def _negatives(hits: Sequence[str], judged: Mapping[str, int], count: int, rng: random.Random) -> list[str]:
    """Take half of ``count`` from the first ``TOP`` hits and the rest from deeper ranks, hits that are judged 0 first."""
    top, deep = list(hits[:TOP]), list(hits[TOP:])
    for stratum in (top, deep):
        rng.shuffle(stratum)
        stratum.sort(key=lambda doc_id: doc_id not in judged)
    wanted = (count + 1) // 2
    chosen = top[:wanted] + deep[: count - min(wanted, len(top))]
    if len(chosen) < count:
        chosen += top[wanted : wanted + count - len(chosen)]
    return chosen
