"""BEIR folders: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/SPLIT.tsv``, each plain or ``.gz``.

Reads and writes the layout of https://github.com/beir-cellar/beir; ranks nothing.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimrank.errors import DataError
from slimrank.files import either, open_text, replace_text
from slimrank.prompt import document_text
from slimrank.types import Qrels


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus."""

    doc_id: str
    title: str
    text: str

    @property
    def content(self) -> str:
        """What is searched and scored: title and text."""
        return document_text(self.title, self.text)


@dataclass(frozen=True, slots=True)
class Collection:
    """A corpus, queries of one split, and their judgments."""

    name: str
    documents: Mapping[str, Document]
    queries: Mapping[str, str]
    qrels: Qrels


def read_collection(folder: Path, split: str) -> Collection:
    """Read a BEIR folder, keeping the queries that ``split`` judges.

    Raises:
        DataError: a file is missing or malformed, or a judged query has no text.
    """
    queries, qrels = read_queries(folder, split)
    documents = {document.doc_id: document for document in iterate_documents(folder)}
    return Collection(folder.name, documents, queries, qrels)


def read_queries(folder: Path, split: str) -> tuple[dict[str, str], Qrels]:
    """Read the texts of the queries that ``split`` judges, and its judgments.

    Raises:
        DataError: a file is missing or malformed, or a judged query has no text.
    """
    qrels = read_qrels(either(folder, f"qrels/{split}.tsv"))
    return query_texts(folder, qrels), qrels


def query_texts(folder: Path, query_ids: Iterable[str]) -> dict[str, str]:
    """Return the texts of these queries, in their order.

    Raises:
        DataError: the file is missing or malformed, or a query has no text.
    """
    texts = {record["_id"]: record["text"] for record in _records(either(folder, "queries.jsonl"), ("_id", "text"))}
    wanted = list(query_ids)
    missing = [query_id for query_id in wanted if query_id not in texts]
    if missing:
        raise DataError(f"{folder}: {len(missing)} judged queries have no text in queries.jsonl, the first is {missing[0]!r}")
    return {query_id: texts[query_id] for query_id in wanted}


def has_split(folder: Path, split: str) -> bool:
    """Say whether a BEIR folder judges this split."""
    return any((folder / "qrels" / f"{split}.tsv{end}").is_file() for end in ("", ".gz"))


def iterate_documents(folder: Path) -> Iterator[Document]:
    """Yield the documents of a BEIR folder in file order."""
    for record in _records(either(folder, "corpus.jsonl"), ("_id", "text")):
        yield Document(record["_id"], record.get("title") or "", record["text"])


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgments: tab-separated query-id, corpus-id, score; a header line may be there."""
    qrels: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in iterate_qrels(path):
        qrels.setdefault(query_id, {})[doc_id] = relevance
    if not qrels:
        raise DataError(f"{path} holds no judgments")
    return qrels


def iterate_qrels(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield query id, document id and relevance, a line at a time."""
    with open_text(path) as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if not row or (number == 1 and row[0] == "query-id"):
                continue
            try:
                query_id, doc_id, relevance = row
                yield query_id, doc_id, int(relevance)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected query-id, corpus-id and an integer, tab-separated; found {row}"
                ) from error


def write_documents(folder: Path, documents: Iterable[Document]) -> None:
    """Write ``corpus.jsonl``."""
    with replace_text(folder / "corpus.jsonl") as file:
        for document in documents:
            record = {"_id": document.doc_id, "title": document.title, "text": document.text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_queries(folder: Path, queries: Mapping[str, str]) -> None:
    """Write ``queries.jsonl``."""
    with replace_text(folder / "queries.jsonl") as file:
        for query_id, text in queries.items():
            file.write(json.dumps({"_id": query_id, "text": text}, ensure_ascii=False) + "\n")


def write_qrels(folder: Path, split: str, qrels: Qrels) -> None:
    """Write ``qrels/SPLIT.tsv``."""
    with replace_text(folder / "qrels" / f"{split}.tsv") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query_id, judged in qrels.items():
            file.writelines(f"{query_id}\t{doc_id}\t{relevance}\n" for doc_id, relevance in judged.items())


def _records(path: Path, required: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON ({error})") from error
            if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in required):
                raise DataError(
                    f"{path}:{number}: expected an object with the strings {', '.join(required)}; found {line.strip()[:80]}"
                )
            yield record
