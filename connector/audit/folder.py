"""An audit's folder: it holds the result of every step, so that any step can be repeated in a new process.

plan.json                the specification, seed and counts; its hash names the audit
queries.jsonl            the queries to ask, by query id
answers/0000.jsonl ...   both sides' hits for a chunk of queries, written whole or not at all
timings/0000.jsonl ...   the only values that may differ between two runs of one audit
before.json, after.json  the state of each side when the run began
documents/0000.jsonl ... the documents of the changed queries of a chunk, from both sides
judgments/               a file of grades for each judge, by query id, and the cache of the models' grades
content.json, causes.json  the comparison of all documents, and why rankings changed
report.json, junit.xml, report.html
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from connector.audit.sample import Query
from connector.audit.spec import Spec, parse_spec
from slimrank.errors import DataError
from slimrank.files import open_text, parse_json, replace_text
from slimrank.folders import LOCK_FILE, check_replaceable, one_at_a_time, only

CHUNK = 20
"""The number of queries between two writes."""


class Folder:
    """Reads and writes one audit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_begins(self) -> None:
        """Refuse a folder that holds something other than an audit, before any long step begins.

        Raises:
            ConfigError: the folder holds something else.
        """
        check_replaceable(
            self.path, lambda folder: self.has("plan.json") or (self.has(LOCK_FILE) and _interrupted(folder)), "an audit"
        )

    @contextmanager
    def at_work(self, *, begins: bool = False) -> Iterator[None]:
        """Let only one command work in the folder. Queue workers may add chunks, because each chunk is written whole or not at
        all.

        Args:
            begins: Whether the folder may still be without a plan.

        Raises:
            ConfigError: another command works in the folder, or the folder holds something else.
            DataError: there is no plan.
        """
        if begins:
            self.check_begins()
        else:
            _ = self.plan  # raises, so that a folder without an audit is not changed
        with one_at_a_time(self.path):
            yield

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The audit's plan.

        Raises:
            DataError: there is none.
        """
        if not (self.path / "plan.json").is_file():
            raise DataError(f"{self.path} holds no audit; create one with `slimrank audit plan SPEC --out {self.path}`")
        return self.read("plan.json")

    @cached_property
    def spec(self) -> Spec:
        """The specification in the plan."""
        return parse_spec(self.plan["spec"], str(self.path / "plan.json"))

    @property
    def chunks(self) -> range:
        """The numbers of the chunks."""
        return range(-(-self.plan["queries"] // CHUNK))

    def queries(self) -> Iterator[Query]:
        """Yield all queries by id."""
        return (Query(**record) for record in read_lines(self.path / "queries.jsonl"))

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write the plan, and drop the plan that was read before."""
        self.write("plan.json", plan)
        self.__dict__.pop("plan", None)
        self.__dict__.pop("spec", None)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        (self.path / name).unlink(missing_ok=True)

    @property
    def has_begun(self) -> bool:
        """Whether the state of a side was read, or a query was asked."""
        return self.has("before.json") or any((self.path / "answers").glob("*.jsonl"))

    def chunk(self, number: int) -> list[Query]:
        """Return the queries of a chunk."""
        with open_text(self.path / "queries.jsonl") as file:
            return [Query(**parse_json(line)) for line in islice(file, number * CHUNK, (number + 1) * CHUNK)]

    def chunk_size(self, number: int) -> int:
        """Return how many queries a chunk holds."""
        return min(CHUNK, int(self.plan["queries"]) - number * CHUNK)

    def write_queries(self, queries: Iterable[Query]) -> None:
        """Write the queries."""
        write_lines(self.path / "queries.jsonl", (asdict(query) for query in queries))

    def answers_file(self, number: int) -> Path:
        """Return the file of a chunk's answers."""
        return self.path / "answers" / f"{number:04}.jsonl"

    def timings_file(self, number: int) -> Path:
        """Return the file of a chunk's timings."""
        return self.path / "timings" / f"{number:04}.jsonl"

    def documents_file(self, number: int) -> Path:
        """Return the file with the documents of a chunk's changed queries."""
        return self.path / "documents" / f"{number:04}.jsonl"

    def documents(self) -> Iterator[tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
        """Yield each query's answers together with the documents of its chunk, by doc_id."""
        for number in self.chunks:
            documents = {record["doc_id"]: record for record in read_lines(self.documents_file(number))}
            for answer in read_lines(self.answers_file(number)):
                yield answer, documents

    def missing_chunks(self) -> list[int]:
        """Return the chunks that have no answers yet."""
        return [number for number in self.chunks if not self.answers_file(number).is_file()]

    def require_answers(self) -> None:
        """Make sure that the run is complete.

        Raises:
            DataError: it is not.
        """
        missing = self.missing_chunks()
        if missing:
            raise DataError(
                f"{len(missing)} of {len(self.chunks)} chunks have no answers yet; continue with `slimrank audit run {self.path}`"
            )

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield one record for each query, by query id; only one chunk is in memory at a time."""
        for number in self.chunks:
            yield from read_lines(self.answers_file(number))

    def timings(self) -> Iterator[dict[str, Any]]:
        """Yield the timings in the same order."""
        for number in self.chunks:
            yield from read_lines(self.timings_file(number))

    def read(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the folder."""
        with open_text(self.path / name) as file:
            content: dict[str, Any] = parsed(file.read(), f"{self.path / name}")
        return content

    def write(self, name: str, content: Any) -> None:
        """Write a JSON file with sorted keys."""
        with replace_text(self.path / name) as file:
            file.write(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def has(self, name: str) -> bool:
        """Tell whether a file exists."""
        return (self.path / name).is_file()


_interrupted = only("queries.jsonl", LOCK_FILE)
"""Shows that a folder's plan was being written."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON-lines file.

    Raises:
        DataError: a line is not a JSON object.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield parsed(line, f"{path}:{number}")


def parsed(text: str, place: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DataError: the text is not a JSON object.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise DataError(f"{place} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{place}: expected a JSON object; found {text.strip()[:80]!r}")
    return content


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a JSON-lines file, whole or not at all."""
    with replace_text(path) as file:
        file.writelines(json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in records)


def digest(content: Any) -> str:
    """Return a hash of JSON content that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
