"""The committed pairs, by which an export is verified: ten queries and forty documents, written for this purpose.

The first document of each query answers it. Every third query also gets a long document, joined from the documents
of other queries and cut at a different length each time, up to more tokens than a model reads.
That makes 44 pairs. A long pair takes ten times as long as a short one, and four lengths test as much as ten would.
"""

import json
from dataclasses import dataclass
from pathlib import Path

LENGTH_STEP = 300
"""Characters by which the long document grows from query to query; the last has about 600 tokens."""
LONG_EVERY = 3
PAIRS_FILE = Path(__file__).with_name("pairs.jsonl")


@dataclass(frozen=True, slots=True)
class PairGroup:
    """One query and its documents."""

    query: str
    documents: list[str]


def read_pairs() -> list[PairGroup]:
    """Return the committed pairs; a long document is the last of its query."""
    records = [json.loads(line) for line in PAIRS_FILE.read_text(encoding="utf-8").splitlines()]
    groups = [PairGroup(record["query"], record["documents"]) for record in records]
    texts = [document for group in groups for document in group.documents]
    for place, group in enumerate(groups):
        if place % LONG_EVERY == 0:
            group.documents.append(_joined(texts, group, (place + 1) * LENGTH_STEP))
    return groups


def _joined(texts: list[str], group: PairGroup, characters: int) -> str:
    return "\n".join(text for text in texts if text not in group.documents)[:characters]
