"""The pairs on which an export is proved: ten queries, forty documents, written for this.

The first document of each query answers it. Every third query also gets a longer document, joined
of all others and cut at another length each time, up to beyond the longest pair that a model
takes. That is 44 pairs: long ones cost ten times what short ones do, and four lengths tell as much as ten.
"""

import json
from dataclasses import dataclass
from pathlib import Path

LENGTH_STEP = 300
"""Characters by which the joined document grows from query to query; the last has some 600 tokens."""
LONG_EVERY = 3
PAIRS_FILE = Path(__file__).with_name("pairs.jsonl")


@dataclass(frozen=True, slots=True)
class PairGroup:
    """One query and its documents, shortest to pair length."""

    query: str
    documents: list[str]


def read_pairs() -> list[PairGroup]:
    """Return the committed pairs, a query's long document last."""
    records = [json.loads(line) for line in PAIRS_FILE.read_text(encoding="utf-8").splitlines()]
    groups = [PairGroup(record["query"], record["documents"]) for record in records]
    texts = [document for group in groups for document in group.documents]
    for place, group in enumerate(groups):
        if place % LONG_EVERY == 0:
            group.documents.append(_joined(texts, group, (place + 1) * LENGTH_STEP))
    return groups


def _joined(texts: list[str], group: PairGroup, characters: int) -> str:
    return "\n".join(text for text in texts if text not in group.documents)[:characters]
