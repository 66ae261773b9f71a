"""The pairs of a benchmark, as token ids: a collection's queries with BM25's hits, or Python's own documentation.

Every contender gets the same ids, so that the comparison leaves out the speed and the cuts of tokenizers. This file scores nothing.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from slimrank.bm25 import BM25
from slimrank.errors import ConfigError
from slimrank.evaluation.beir import read_collection
from slimrank.manifest import PROMPT_FILE, TOKENIZER_FILE, Manifest
from slimrank.options import SPLIT
from slimrank.prompt import Prompt, PromptEncoder
from slimrank.types import Qrels


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One query's shared prefix and what follows it for each document, as token ids."""

    query_id: str
    prefix: list[int]
    doc_ids: list[str]
    rows: list[list[int]]

    @property
    def tokens(self) -> int:
        """Tokens of all pairs, the prefix counted with each."""
        return len(self.rows) * len(self.prefix) + sum(map(len, self.rows))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Requests, and the judgments of their documents; there are none for requests that are not from a collection."""

    source: str
    requests: list[TokenRequest]
    qrels: Qrels


def token_pairs(
    folder: Path,
    manifest: Manifest,
    data: Path | None,
    *,
    split: str = SPLIT,
    queries: int,
    depth: int,
    seed: int,
    pair_tokens: int | None = None,
) -> Pairs:
    """Return requests of real text.

    Args:
        folder: Model folder, whose tokenizer and prompt are used.
        data: BEIR folder; default the documentation of this Python.
        depth: Documents of a request; a query for which BM25 finds fewer is left out.
        pair_tokens: Every pair is cut to this length, or filled up to it by repeating the document; default natural lengths.

    Raises:
        ConfigError: no query has as many hits as ``depth``.
    """
    encoder = _encoder(folder, manifest)
    qrels: Qrels = {}
    if data is None:
        texts = _python_documentation(queries, depth, seed)
    else:
        texts, qrels = _collection(data, split, queries, depth, seed)
    requests = []
    for query_id, query, documents in texts:
        prefix = encoder.prefix_ids(query).ids
        rows = [piece.ids + encoder.suffix_ids for piece in encoder.document_ids(list(documents.values()), len(prefix))]
        if pair_tokens is not None:
            room = max(1, pair_tokens - len(prefix))
            rows = [(row * -(-room // len(row)))[:room] for row in rows]
        requests.append(TokenRequest(query_id, prefix, list(documents), rows))
    source = data.name if data else "python"
    return Pairs(source, requests, {request.query_id: qrels[request.query_id] for request in requests} if qrels else {})


def _encoder(folder: Path, manifest: Manifest) -> PromptEncoder:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    prompt = Prompt.load(folder / PROMPT_FILE)
    limits = {"max_pair_tokens": manifest.max_pair_tokens, "max_query_tokens": manifest.max_query_tokens}
    return PromptEncoder(prompt, tokenizer, **limits)


Texts = list[tuple[str, str, dict[str, str]]]
"""query_id, query, and doc_id -> text."""


def _collection(folder: Path, split: str, queries: int, depth: int, seed: int) -> tuple[Texts, Qrels]:
    collection = read_collection(folder, split)
    texts = {doc_id: document.content for doc_id, document in collection.documents.items()}
    index = BM25(texts)
    judged = sorted(collection.qrels)
    found: Texts = []
    for query_id in random.Random(seed).sample(judged, len(judged)):
        hits = index.search(collection.queries[query_id], depth)
        if len(hits) == min(depth, len(texts)):
            found.append((query_id, collection.queries[query_id], {doc_id: texts[doc_id] for doc_id in hits}))
        if len(found) == queries:
            break
    if not found:
        raise ConfigError(
            f"{depth} documents a request are asked for, but BM25 finds fewer for every query of {folder}; give a smaller --depth"
        )
    return found, collection.qrels


def python_paragraphs() -> list[str]:
    """Return the paragraphs of Python's documentation that say more than a heading does."""
    from pydoc_data.topics import topics

    return [text for topic in topics.values() for text in topic.split("\n\n") if len(text) > 80]


def _python_documentation(queries: int, depth: int, seed: int) -> Texts:
    from pydoc_data.topics import topics

    chooser, paragraphs = random.Random(seed), python_paragraphs()
    return [
        (
            topic,
            f"how does {topic} work in python",
            {str(place): text for place, text in enumerate(chooser.sample(paragraphs, depth))},
        )
        for topic in chooser.sample(sorted(topics), queries)
    ]
