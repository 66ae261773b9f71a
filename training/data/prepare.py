"""Make training groups: read collections, mine negatives, ask the teacher, write JSON lines.

The first step of training. Every split is respected: only ``train`` judgments are read, queries
held out for dev stay out, and a query text, judged or made, that also stands in another split is
dropped. Command: ``slimrank train prepare CONFIG --data FOLDER --out FOLDER``.
"""

import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from slimrank.bm25 import BM25
from slimrank.errors import DataError
from slimrank.evaluation.beir import Collection, has_split, iterate_documents, read_collection, read_queries
from slimrank.evaluation.splits import query_key
from training.config import CodeConfig, CollectionConfig, PrepareConfig
from training.data import docstrings, synthetic
from training.data.adversary import with_hostile
from training.data.ensemble import combine, first_stage_scores, taught
from training.data.groups import (
    FirstStage,
    Group,
    Mining,
    drop_false_negatives,
    hold_out,
    labelled_groups,
    made_groups,
    write_groups,
)
from training.data.live import MAX_DOCUMENTS, open_index
from training.data.sources import RecordedFirstStage, read_csv, read_trec, unlabelled
from training.data.teacher import Teacher

log = logging.getLogger(__name__)

LEAST_DOCUMENTS = 3
"""Of a group: with fewer there is little to rank."""

SPARE = 1.1
"""Times the groups that are asked for: so many go to the teachers, who leave some with too few documents (3 of 100, measured)."""


def prepare(config: PrepareConfig, data: Path, out: Path, teacher_folders: Sequence[Path] = ()) -> Path:
    """Write ``groups.jsonl`` and return its path.

    What is drawn from an entry, and the order of the groups, depends on no other entry: so two sets of equally many groups,
    one of them made without a kind, differ by that kind's groups and by those that take their place.

    Args:
        teacher_folders: Several teachers are an ensemble (``training.data.ensemble``), on the scale of the first.
    """
    out.mkdir(parents=True, exist_ok=True)  # refused now, not after an hour of mining; the teachers likewise
    teachers = [Teacher(folder, max_tokens=config.teacher_max_tokens) for folder in teacher_folders]
    groups = _mined(config, data, out)
    if config.groups:
        groups = groups[: ceil(SPARE * config.groups)]
    _check_shares(groups, config.most_share)
    if teachers:
        groups = score(groups, teachers, with_first_stage=config.first_stage_as_teacher)
        groups = [drop_false_negatives(group, config.false_negative_margin) for group in groups]
    if config.hostile_share:
        groups = [
            attacked
            for group in groups
            for attacked in with_hostile([group], config.hostile_share, _draw(config.seed, "hostile", group))
        ]
    kept = [group for group in groups if len(group.documents) >= LEAST_DOCUMENTS][: config.groups]
    if not kept:
        raise DataError(
            f"the teacher left none of {len(groups)} groups {LEAST_DOCUMENTS} documents: it likes unjudged ones better than those judged"
            " relevant; check the teacher and the judgments, or raise false_negative_margin"
        )
    if config.groups and len(kept) < config.groups:
        raise DataError(
            f"the entries give {len(kept):,} groups, and {config.groups:,} are asked for; raise their counts, or lower groups"
        )
    _check_shares(kept, config.most_share)
    path = out / "groups.jsonl"
    write_groups(path, kept)
    return path


def _mined(config: PrepareConfig, data: Path, out: Path) -> list[Group]:
    """Return the groups of all entries, in an order that every group has by itself."""
    mining = Mining(group_size=config.group_size, depth=config.depth)
    groups: list[Group] = []
    for entry in config.collections:
        found = _of_collection(entry, data, out, mining, config.seed, _draw(config.seed, entry.model_dump_json()))
        groups += (replace(group, kind=entry.kind_name) for group in found)
    if config.code:
        found = _of_code(config.code, data, out, mining, config.seed, _draw(config.seed, "code"))
        groups += (replace(group, kind=config.code.kind) for group in found)
    if not groups:
        raise DataError("no query of the configuration gave a group; check the folders and counts it names")
    return sorted(groups, key=lambda group: _draw(config.seed, "order", group).random())


def _draw(seed: int, purpose: str, group: Group | None = None) -> random.Random:
    return random.Random(f"{seed} {purpose} {group.source} {group.query_id}" if group else f"{seed} {purpose}")


def _check_shares(groups: Sequence[Group], most: float) -> None:
    """Say how many groups each kind has.

    Raises:
        DataError: one has more than its share.
    """
    counts = Counter(group.kind for group in groups)
    log.info("groups=%d kinds: %s", len(groups), " ".join(f"{kind}={count}" for kind, count in counts.most_common()))
    kind, count = counts.most_common(1)[0]
    if count > most * len(groups):
        raise DataError(
            f"the kind {kind} gives {count:,} of {len(groups):,} groups ({count / len(groups):.0%}), more than most_share {most}; lower its counts"
        )


def score(groups: Sequence[Group], teachers: Sequence[Teacher], *, with_first_stage: bool = False) -> list[Group]:
    """Return the groups with the teachers' scores; each distinct text is encoded once by each."""
    asked = [_cosines(groups, teacher) for teacher in teachers]
    if with_first_stage:
        asked.append([first_stage_scores(group) for group in groups])
    return [taught(group, scores) for group, scores in zip(groups, combine(asked), strict=True)]


def _cosines(groups: Sequence[Group], teacher: Teacher) -> list[list[float]]:
    texts = list(dict.fromkeys(text for group in groups for text in group.documents))
    log.info("encode documents=%d groups=%d", len(texts), len(groups))
    row = {text: index for index, text in enumerate(texts)}
    vectors = teacher.encode_documents(texts)
    queries = teacher.encode_queries([group.query for group in groups])
    return [
        (vectors[[row[text] for text in group.documents]] @ query).tolist() for group, query in zip(groups, queries, strict=True)
    ]


def _of_collection(
    entry: CollectionConfig, data: Path, out: Path, mining: Mining, seed: int, rng: random.Random
) -> Iterator[Group]:
    live = open_index(entry) if entry.is_live else None
    collection = live.collection(most=entry.documents or MAX_DOCUMENTS) if live and not entry.folder else _read(entry, data)
    search: FirstStage = live or BM25({doc_id: document.content for doc_id, document in collection.documents.items()})
    first_stage = RecordedFirstStage(entry.run, collection.queries) if entry.run else search
    held = hold_out(collection.queries, entry.hold_out, seed)
    if held:
        (out / f"held_out_{collection.name}.json").write_text(json.dumps(sorted(held)))
    forbidden = {query_key(collection.queries[query_id]) for query_id in held}
    forbidden |= _other_split_texts(data / entry.folder) if entry.folder else set()
    usable = [
        query_id for query_id, text in collection.queries.items() if query_id not in held and query_key(text) not in forbidden
    ]
    chosen = rng.sample(usable, min(entry.queries, len(usable)))
    seen = len(collection.queries) - len(held) - len(usable)
    log.info("collection name=%s queries=%d seen_in_other_splits=%d", collection.name, len(chosen), seen)
    yield from labelled_groups(collection, chosen, first_stage, mining, rng)
    made = [query for query in _made(entry, collection, rng) if query_key(query.text) not in forbidden]
    yield from made_groups(collection, made, search, mining, rng)


def _read(entry: CollectionConfig, data: Path) -> Collection:
    if entry.csv:
        return read_csv(entry.csv)
    assert entry.folder is not None  # an entry names a folder, a file or an index
    if entry.unlabelled:
        return unlabelled(data / entry.folder)
    if entry.qrels:
        return read_trec(data / entry.folder, entry.qrels)
    return read_collection(data / entry.folder, "train")


def _made(entry: CollectionConfig, collection: Collection, rng: random.Random) -> list[synthetic.MadeQuery]:
    documents = list(collection.documents.values())
    made = synthetic.from_titles(documents, entry.titles, rng)
    made += synthetic.from_sentences(documents, entry.sentences, rng) if entry.sentences else []
    made += synthetic.from_keywords(documents, entry.keywords, rng) if entry.keywords else []
    return made + (
        synthetic.from_templates(documents, entry.templates.texts, entry.templates.count, rng) if entry.templates else []
    )


def _of_code(entry: CodeConfig, data: Path, out: Path, mining: Mining, seed: int, rng: random.Random) -> Iterator[Group]:
    folder = out / "code"
    without = frozenset(docstrings.fingerprint(document.text) for document in iterate_documents(data / entry.without))
    docstrings.build_collection(
        entry.packages, folder, queries=entry.queries, per_package=entry.per_package, seed=seed, without=without
    )
    collection = read_collection(folder, "train")
    log.info("collection name=code documents=%d queries=%d", len(collection.documents), len(collection.queries))
    first_stage = BM25({doc_id: document.content for doc_id, document in collection.documents.items()})
    yield from labelled_groups(collection, list(collection.queries), first_stage, mining, rng)


def _other_split_texts(folder: Path) -> frozenset[str]:
    """Return the query texts of the dev and test splits, so that none is trained on."""
    texts: set[str] = set()
    for split in ("dev", "test"):
        if has_split(folder, split):
            texts.update(query_key(text) for text in read_queries(folder, split)[0].values())
    return frozenset(texts)
