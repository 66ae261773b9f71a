"""A folder as a reader of the guides has it, and ways to run a command in it. The models are tiny; the engines are those of the tests."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from slimrank.evaluation import beir
from slimrank.prompt import BUILT_IN
from slimrank.settings import DEFAULT_MODEL_NAME
from tests.command import slimrank
from tests.docs.pages import ROOT, blocks
from tests.nodes import process
from tests.tiny import make_adapter, make_checkpoint
from tests.tiny_pairs import make_cross_encoder
from tests.vocabularies import small_tokenizer

OPENSEARCH_GUIDE = ROOT / "docs" / "guides" / "opensearch.md"
# The models that the guides take from a model hub; here they are folders of these names.
LANGUAGE_MODELS = {"mixedbread-ai/mxbai-rerank-base-v2": "qwen2", "Qwen/Qwen3-Reranker-0.6B": "qwen3"}
COLOURS, THINGS = ("red", "blue", "green"), ("shoes", "hats", "racks")
CROSS_ENCODERS = {"cross-encoder/ms-marco-MiniLM-L6-v2": "bert", "BAAI/bge-reranker-base": "xlm-roberta"}


@pytest.fixture(scope="module")
def place(tiny_model: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the guides' collections, click logs, checkpoints and model folders, and a tiny default model."""
    folder = tmp_path_factory.mktemp("reader")
    for name in (f"home/models/{DEFAULT_MODEL_NAME}", "models/shallow", "models/other", f"srv/models/{DEFAULT_MODEL_NAME}"):
        shutil.copytree(tiny_model, folder / name)
    shutil.copytree(tiny_checkpoint, folder / "BASE")
    for name in ("adapter", "shallow"):
        make_adapter(tiny_checkpoint, folder / "runs" / name)
    knows_the_prompts = small_tokenizer(
        [part for prompt in BUILT_IN.values() for part in asdict(prompt).values() if part], size=2048
    )
    for name, kind in LANGUAGE_MODELS.items():
        make_checkpoint(folder / name, kind, tokenizer=knows_the_prompts)
    for name, kind in CROSS_ENCODERS.items():
        make_cross_encoder(folder / name, kind)
    for name in ("collections/shop", "collections/scifact", "COLLECTION"):
        _write_collection(folder / name)
    (folder / "rules.yaml").write_text(blocks(OPENSEARCH_GUIDE, "yaml")[0])
    _write_clicks(folder)
    (folder / "audits").mkdir()
    binary = folder / "bin"
    binary.mkdir()
    for name, target in (("slimrank", f'exec {sys.executable} -m slimrank "$@"'), ("python", f'exec {sys.executable} "$@"')):
        (binary / name).write_text(f"#!/bin/sh\n{target}\n")
        (binary / name).chmod(0o755)
    return folder


def _write_collection(folder: Path) -> None:
    pairs = ((colour, thing) for colour in COLOURS for thing in THINGS)
    documents = [beir.Document(f"p{i}", f"{colour} {thing}", f"A {colour} {thing}.") for i, (colour, thing) in enumerate(pairs)]
    beir.write_documents(folder, documents)
    beir.write_queries(folder, {"q1": "red shoes", "q2": "a blue hat"})
    beir.write_qrels(folder, "test", {"q1": {"p0": 2}, "q2": {"p4": 1}})


def _write_clicks(folder: Path) -> None:
    events = []
    for i in range(12):
        shown = {"query_id": f"s{i}", "timestamp": "2026-01-01T00:00:00Z"}
        for rank, doc_id in enumerate(("p0", "p1", "p2"), start=1):
            attributes = {"object": {"object_id": doc_id}, "position": {"ordinal": rank}}
            events.append(shown | {"action_name": "impression", "event_attributes": attributes})
            if rank == 1 + i % 2:
                events.append(shown | {"action_name": "click", "event_attributes": attributes})
    queries = [{"query_id": f"s{i}", "user_query": "red shoes", "query_response_hit_ids": ["p0", "p1", "p2"]} for i in range(12)]
    write_lines(folder / "ubi_queries.jsonl", queries)
    write_lines(folder / "ubi_events.jsonl", events)


def write_audit(folder: Path, specification: str) -> None:
    """Write a specification, and the files that the specification of the guide names."""
    (folder / "audit.yaml").write_text(specification)
    asked = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    write_lines(folder / "queries.jsonl", [{"_id": f"q{i}", "query": query, "frequency": 12} for i, query in enumerate(asked)])
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\tp{i}\t2\n" for i in range(len(asked))))


def write_lines(path: Path, lines: list[dict[str, object]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def environment(place: Path) -> dict[str, str]:
    """Return the environment variables of a reader's shell."""
    return os.environ | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLIMRANK_HOME": str(place / "home"),
        "SLIMRANK_THREADS": "1",
        "COLUMNS": "200",
    }


def run(command: str, place: Path) -> str:
    """Run a command in a shell; return its output."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def at(place: Path, **settings: str) -> Iterator[None]:
    """Change to the reader's folder and settings, for commands that run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, value in (environment(place) | settings).items():
            patch.setenv(name, value)
        yield


def run_here(command: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a ``slimrank`` command in this process through its ``main``; another process takes a second and shows nothing more."""
    ended = slimrank(*shlex.split(command)[1:])
    assert ended.code in codes, f"{command}\n{ended.out}\n{ended.err}"
    return ended.out + ended.err


@contextmanager
def serve(command: str, place: Path, path: str, port: int) -> Iterator[object]:
    """Run a command that serves at a port of the tests, and wait until its path answers."""
    words = [word for word in shlex.split(command.removeprefix(".venv/bin/")) if word]  # on PATH here
    if "--port" in words:
        words[words.index("--port") + 1] = str(port)
    else:
        words += ["--port", str(port)]
    env = environment(place)
    whole = [
        "/usr/bin/env",
        f"--chdir={place}",
        *(f"{name}={env[name]}" for name in ("PATH", "PYTHONPATH", "SLIMRANK_HOME", "SLIMRANK_THREADS")),
        *words,
    ]
    logs = place / f"logs-{port}"
    logs.mkdir()
    is_up = f"http://127.0.0.1:{port}{path}"
    with process.running(whole, folder=logs, is_up=lambda: process.answers(is_up), timeout_seconds=90) as served:
        yield served


def moved(command: str, here: Mapping[str, str]) -> str:
    """Return a command in which the addresses and folders of the guides are replaced by those of the tests."""
    for there, address in here.items():
        command = command.replace(there, address)
    return command
