"""Make a code-search collection from the documented functions of installed Python packages.

The first sentence of a function's docstring becomes a query (half of the queries begin with "python", as
people type them), and the function without that sentence becomes its relevant document. The demo uses
the standard library, so this module reads only third-party packages. Sources are parsed with ``ast`` and never executed.
"""

import ast
import importlib.util
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slimrank.errors import ConfigError
from slimrank.evaluation.beir import Document, write_documents, write_qrels, write_queries

MAX_SOURCE_LINES = 60
MIN_WORDS, MAX_WORDS = 4, 14


def build_collection(
    packages: Sequence[str], folder: Path, *, queries: int, per_package: int, seed: int, without: frozenset[str] = frozenset()
) -> None:
    """Write a BEIR folder with a ``train`` split.

    Args:
        packages: Importable names; each must be installed.
        queries: The number of functions that give a query.
        per_package: The largest number of functions from one package, so that none dominates.
        without: The ``fingerprint`` of each document that must be left out, such as those of a test collection.
    """
    rng = random.Random(seed)
    found: list[tuple[Document, str, str]] = []
    for package in packages:
        functions = [item for item in _documented(package) if fingerprint(item[0].text) not in without]
        found += rng.sample(functions, min(per_package, len(functions)))
    asked = set(rng.sample(range(len(found)), min(queries, len(found))))
    documents, texts, qrels = [], {}, {}
    for index, (document, sentence, bare) in enumerate(found):
        if index in asked:
            query_id = f"doc-{index}"
            texts[query_id] = _as_typed(sentence, rng)
            qrels[query_id] = {document.doc_id: 1}
            document = Document(document.doc_id, "", bare)
        documents.append(document)
    write_documents(folder, documents)
    write_queries(folder, texts)
    write_qrels(folder, "train", qrels)


def fingerprint(source: str) -> str:
    """Return the first 200 characters without white space, by which copies of a function are recognised."""
    return re.sub(r"\s", "", source)[:200]


def _documented(package: str) -> Iterator[tuple[Document, str, str]]:
    """Yield each documented function, its first sentence, and its source without that sentence."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the package {package!r} is not installed; install it or take it off the list")
    root = Path(next(iter(spec.submodule_search_locations)))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root.parent).as_posix()
        if "/test" in name or "/_vendor" in name:
            continue
        source = path.read_text(encoding="utf-8", errors="replace")
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        yield from _functions(tree, source, name)


def _functions(tree: ast.Module, source: str, name: str) -> Iterator[tuple[Document, str, str]]:
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        docstring = ast.get_docstring(node) or ""
        sentence = re.split(r"(?<=[.!?])\s|\n\s*\n", docstring.strip())[0].replace("\n", " ").strip().rstrip(".")
        if not MIN_WORDS <= len(sentence.split()) <= MAX_WORDS or not re.fullmatch(r"[\w\s,'()/-]+", sentence):
            continue
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno][:MAX_SOURCE_LINES])
        first_line = docstring.strip().splitlines()[0]
        yield Document(f"{name}:{node.lineno}", "", text), sentence, text.replace(first_line, "", 1)


def _as_typed(sentence: str, rng: random.Random) -> str:
    text = sentence.lower()
    return f"python {text}" if rng.random() < 0.5 else text
