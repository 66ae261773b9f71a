"""Build the demo corpus: the documentation strings of the running interpreter's standard library.

One document for each public module, class, function, method and property that has a documentation string:
id = dotted name, title = signature, text = docstring. ``build`` writes them as a BEIR folder, together with the
queries and judgments in this folder. ``library.py`` reads the library.

This module uses only the standard library, so that any interpreter can run it from a checkout, with nothing installed:

    python3.13 -m slimrank.evaluation.python_docs.corpus --check        # every judged id exists there
    python3.13 -m slimrank.evaluation.python_docs.corpus --out FOLDER   # write the BEIR folder
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slimrank.evaluation.python_docs.inspection import Entry
from slimrank.evaluation.python_docs.library import Library, public_modules

_HERE = Path(__file__).resolve().parent
QUERIES = _HERE / "queries.jsonl"
QRELS = _HERE / "qrels.tsv"
_CODE = [_HERE / name for name in ("corpus.py", "library.py", "inspection.py")]
_BUILT = "built.json"  # in a written folder: the fingerprint of its sources, and the number of its documents

# Names that are imported under another name than the one in the source.
_PUBLIC_PREFIX = {"multiprocessing.context.BaseContext.": "multiprocessing.", "posixpath": "os.path"}


@dataclass(frozen=True, slots=True)
class Document:
    """One documented name of the standard library."""

    doc_id: str
    title: str
    text: str


def iterate_documents() -> Iterator[Document]:
    """Yield every document, sorted by id.

    An entry with the same name, signature and text in several modules is one thing: only the shortest dotted name
    stays (``asyncio.run``, not ``asyncio.runners.run``).
    """
    library = Library()
    distinct: dict[Entry, str] = {}
    by_id: dict[str, Document] = {}
    for module in public_modules():
        for entry in library.entries(module):
            doc_id = _public_id(f"{module}.{entry.path}" if entry.path else module)
            known = distinct.get(entry)
            if known is None or _prominence(doc_id) < _prominence(known):
                distinct[entry] = doc_id
    for entry, doc_id in distinct.items():
        by_id[doc_id] = Document(doc_id, f"{entry.kind}{doc_id}{entry.parameters}", entry.text)
    yield from (by_id[doc_id] for doc_id in sorted(by_id))


def _public_id(doc_id: str) -> str:
    for prefix, public in _PUBLIC_PREFIX.items():
        if doc_id.startswith(prefix):
            return public + doc_id[len(prefix) :]
    return doc_id


def _prominence(doc_id: str) -> tuple[int, str]:
    return doc_id.count("."), doc_id


def build(folder: Path) -> int:
    """Write the BEIR folder, unless it was already written by this Python with these judgments.

    The folder appears only when it is complete; an earlier one is replaced, anything else is refused.

    Returns:
        The number of documents.
    """
    fingerprint = _fingerprint()
    known = _built_count(folder, fingerprint)
    if known is not None:
        return known
    if folder.exists() and any(folder.iterdir()) and not (folder / _BUILT).is_file():
        raise FileExistsError(errno.EEXIST, "it is neither empty nor a demo corpus, and its content would be lost", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "made"
        count = _write(made)
        (made / _BUILT).write_text(json.dumps({"fingerprint": fingerprint, "documents": count}) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        made.rename(folder)
    return count


def _built_count(folder: Path, fingerprint: str) -> int | None:
    """Return the number of documents of a current folder; None if the folder must be built."""
    if not (folder / "corpus.jsonl").is_file():
        return None
    try:
        built = json.loads((folder / _BUILT).read_text(encoding="utf-8"))
        return int(built["documents"]) if built["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path) -> int:
    (folder / "qrels").mkdir(parents=True)
    shutil.copyfile(QUERIES, folder / "queries.jsonl")
    shutil.copyfile(QRELS, folder / "qrels" / "test.tsv")
    documents = list(iterate_documents())
    with (folder / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            record = {"_id": document.doc_id, "title": document.title, "text": document.text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return len(documents)


def _fingerprint() -> str:
    """Return a hash of the interpreter's version, the code, the queries and the judgments."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (*_CODE, QUERIES, QRELS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def judged_ids() -> list[str]:
    """Return every document id that a judgment names, sorted."""
    rows = QRELS.read_text(encoding="utf-8").splitlines()[1:]
    return sorted({row.split("\t")[1] for row in rows})


def check() -> dict[str, object]:
    """Look for every judged id in this interpreter's corpus; return what was looked for and what is missing."""
    judged = judged_ids()
    present = {document.doc_id for document in iterate_documents()}
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "documents": len(present),
        "judged": len(judged),
        "digest": digest(judged),
        "missing": [doc_id for doc_id in judged if doc_id not in present],
    }


def digest(doc_ids: list[str]) -> str:
    """Return a short hash of a list of ids, by which two lists can be compared."""
    return hashlib.sha256("\n".join(doc_ids).encode()).hexdigest()[:16]


def main() -> int:
    """Build or check the corpus from the command line; the exit status is 1 if a judged id is missing."""
    parser = argparse.ArgumentParser(description="The demo corpus: this Python's own documentation strings.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=Path, metavar="FOLDER", help="write the BEIR folder here")
    action.add_argument("--check", action="store_true", help="print as JSON which judged ids this Python lacks")
    chosen = parser.parse_args()
    if chosen.out:
        print(f"{build(chosen.out)} documents in {chosen.out}")
        return 0
    found = check()
    print(json.dumps(found))
    return 1 if found["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
