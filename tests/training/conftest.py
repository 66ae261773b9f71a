"""A tiny random model with a tokenizer of a few hundred tokens, and groups to train it on."""

import random
from pathlib import Path

import pytest

from tests.tiny import make_checkpoint
from training.data.groups import Group, write_groups

WORDS = ["spoon", "fork", "knife", "plate", "river", "stone", "cloud", "rain", "piano", "drum", "violin", "flute"]


def make_base(folder: Path, architecture: str = "llama") -> Path:
    """Write a random model of two narrow layers and its tokenizer."""
    return make_checkpoint(folder, architecture, hidden_size=32)


def make_groups(count: int, *, teacher: bool = True) -> list[Group]:
    """Return groups in which the document that contains the query's word is relevant."""
    rng = random.Random(0)
    groups = []
    for number in range(count):
        words = rng.sample(WORDS, 4)
        relevance = tuple(int(word == words[0]) for word in words)
        groups.append(
            Group(
                source="words",
                query_id=str(number),
                query=words[0],
                doc_ids=tuple(words),
                documents=tuple(f"a {word}" for word in words),
                relevance=relevance,
                teacher=tuple(0.7 if grade else 0.5 for grade in relevance) if teacher else (),
            )
        )
    return groups


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def groups_file(tmp_path: Path) -> Path:
    path = tmp_path / "groups.jsonl"
    write_groups(path, make_groups(24))
    return path
