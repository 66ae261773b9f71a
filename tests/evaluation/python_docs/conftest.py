"""The demo corpus, built once for all tests of the demo."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimrank.evaluation.beir import Collection, Document, read_collection
from slimrank.evaluation.python_docs import corpus


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the corpus, built in place of an older Python's corpus."""
    folder = tmp_path_factory.mktemp("demo") / "stdlib"
    folder.mkdir()
    (folder / "built.json").write_text(json.dumps({"fingerprint": "of an older Python", "documents": 0}))
    (folder / "corpus.jsonl").write_text("")
    corpus.build(folder)
    return folder


@pytest.fixture(scope="session")
def collection(built: Path) -> Collection:
    return read_collection(built, "test")


@pytest.fixture(scope="session")
def documents(collection: Collection) -> Mapping[str, Document]:
    return collection.documents
