"""Find what two splits of a collection share, so that no training query is reported as a test query.

Texts count, not ids: a query asked twice under two ids is the same query. Training leaves such
queries out of its groups (``training.data.prepare``), evaluation out of its figures.
"""

from dataclasses import dataclass
from pathlib import Path

from slimrank.evaluation.beir import has_split, read_queries

TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Shared:
    """The queries and documents that a split shares with the train split of its folder."""

    query_ids: frozenset[str] = frozenset()
    """Queries whose text also stands in the train split."""
    documents: int = 0
    """Documents that both splits judge. That is allowed, but a report must say it."""


def query_key(text: str) -> str:
    """Return the words of a query without case and spaces: two queries with the same words are the same."""
    return " ".join(text.lower().split())


def shared_with_train(folder: Path, split: str) -> Shared:
    """Return what ``split`` shares with the train split; nothing where the folder has no train split, or it is asked for.

    Raises:
        DataError: a file is missing or malformed.
    """
    if split == TRAIN or not has_split(folder, TRAIN):
        return Shared()
    train_texts, train_qrels = read_queries(folder, TRAIN)
    texts, qrels = read_queries(folder, split)
    trained = {query_key(text) for text in train_texts.values()}
    judged = {doc_id for documents in train_qrels.values() for doc_id in documents}
    return Shared(
        frozenset(query_id for query_id, text in texts.items() if query_key(text) in trained),
        len(judged & {doc_id for documents in qrels.values() for doc_id in documents}),
    )
