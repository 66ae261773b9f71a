"""BEIR folders: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/SPLIT.tsv``, each plain, ``.gz`` or ``.zst``.

Reads and writes the layout of https://github.com/beir-cellar/beir; ranks nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimrank.errors import DataError
from slimrank.evaluation.columns import check_ids, grade_of
from slimrank.files import either, open_text, packed_names, parse_json, plain_name, replace_text
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
        """The text that is searched and scored: title and text together."""
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
    if not has_split(folder, split) and (there := splits(folder)):
        raise DataError(f"{folder} has no split {split}; it has {', '.join(there)}")
    qrels = read_qrels(either(folder, f"qrels/{split}.tsv"))
    return query_texts(folder, qrels), qrels


def read_unjudged(folder: Path) -> Collection:
    """Read a BEIR folder that nobody has judged yet: its documents, and its queries where it has any.

    Raises:
        DataError: a file is malformed, or there are no documents.
    """
    documents = {document.doc_id: document for document in iterate_documents(folder)}
    has_queries = any((folder / name).is_file() for name in packed_names("queries.jsonl"))
    records = _records(either(folder, "queries.jsonl"), ("_id", "text")) if has_queries else iter(())
    return Collection(folder.name, documents, {record["_id"]: record["text"] for record in records}, {})


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
    return any((folder / "qrels" / name).is_file() for name in packed_names(f"{split}.tsv"))


def splits(folder: Path) -> list[str]:
    """Return the splits that a BEIR folder judges."""
    names = (plain_name(path) for path in (folder / "qrels").glob("*.tsv*"))
    return sorted({name.removesuffix(".tsv") for name in names if name.endswith(".tsv")})


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
        for number, line in enumerate(file, start=1):
            row = line.rstrip("\r\n").split("\t")
            if not line.strip() or (number == 1 and row[0] == "query-id"):
                continue
            try:
                query_id, doc_id, relevance = row
                yield query_id, doc_id, grade_of(relevance)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected query-id, corpus-id and an integer, tab-separated; found {line.strip()[:80]!r}"
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
    """Write ``qrels/SPLIT.tsv``.

    Raises:
        DataError: an id holds a tab or a line break.
    """
    check_ids(qrels, columns="qrels", separator="\t")
    for judged in qrels.values():
        check_ids(judged, columns="qrels", separator="\t")
    with replace_text(folder / "qrels" / f"{split}.tsv") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query_id, judged in qrels.items():
            file.writelines(f"{query_id}\t{doc_id}\t{relevance}\n" for doc_id, relevance in judged.items())


def _records(path: Path, required: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the records of a file; ``title`` may be left out or null in any.

    Raises:
        DataError: a line is none, or the file holds none.
    """
    is_empty = True
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            is_empty = False
            try:
                record = parse_json(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON ({error})") from error
            if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in required):
                raise DataError(
                    f"{path}:{number}: expected an object with the strings {', '.join(required)}; found {line.strip()[:80]}"
                )
            if not isinstance(record.get("title", ""), str | None):
                raise DataError(f"{path}:{number}: expected a string as title; found {json.dumps(record['title'])[:80]}")
            yield record
    if is_empty:
        raise DataError(f"{path} is empty; a line a record is needed, such as " + json.dumps(dict.fromkeys(required, "...")))
