"""Every command that takes a model folder takes the name of a model that ships, by option and by environment."""

import asyncio
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_command

from connector.audit.judge.graders import LocalGrader
from connector.proxy.scorer import EmbeddedScorer
from slimrank import Reranker
from slimrank.__main__ import COMMANDS, app
from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.evaluation.beir import Document, write_documents, write_qrels, write_queries
from slimrank.settings import DEFAULT_MODEL_NAME, load
from slimrank.types import RerankRequest
from tests.command import slimrank
from tests.nodes import process
from tests.shipping import SHALLOW, Shipping

DOCUMENTS = ["red shoes", "a blue hat", "green racks of shoes"]
TAKES = {
    ("bench all", "model"): ["bench", "all", "kept", "--data", "set"],
    ("bench curves", "model"): ["bench", "curves"],
    ("bench determinism", "model"): ["bench", "determinism"],
    ("bench engine", "model"): ["bench", "engine"],
    ("bench hostile", "model"): ["bench", "hostile"],
    ("bench memory", "model"): ["bench", "memory"],
    ("demo", "model"): ["demo"],
    ("doctor", "model"): ["doctor", "--json"],
    ("evaluate", "cascade_model"): ["evaluate", "--data", "set", "--model", SHALLOW],
    ("evaluate", "model"): ["evaluate", "--data", "set"],
    ("frontier", "model"): ["frontier", "kept"],
    ("playground", "model"): ["playground", "--port", "0"],
    ("proxy", "model"): ["proxy", "--upstream", "http://127.0.0.1:9", "--scorer", "embedded"],
    ("rank", "model"): ["rank", "--query", "q", "lines"],
    ("serve", "cascade_model"): ["serve", "--embedded", "--port", "0", "--model", SHALLOW],
    ("serve", "model"): ["serve", "--port", "0"],
    ("verify", "model"): ["verify"],
    ("worker", "cascade_model"): ["worker", "--model", SHALLOW],
    ("worker", "model"): ["worker"],
}
"""By command and parameter, how it is asked here; the model comes last."""


def parameters() -> Iterator[tuple[str, str]]:
    """Yield command and parameter of all that take a model as a path."""
    root: Any = get_command(app)
    waiting = [(name, root.get_command(None, name)) for name in COMMANDS]
    for name, command in waiting:
        waiting += [(f"{name} {inner}", below) for inner, below in getattr(command, "commands", {}).items()]
        given = {} if command.callback is None else inspect.signature(command.callback).parameters
        for parameter in ("model", "cascade_model"):
            if parameter in given and "Path" in str(given[parameter].annotation):
                yield name, parameter


@pytest.fixture
def place(shipping: Shipping) -> Path:
    """Return the working directory with a collection and lines in it."""
    folder = Path("set")
    write_documents(folder, [Document(f"d{place}", "", text) for place, text in enumerate(DOCUMENTS)])
    write_queries(folder, {"q": "red shoes"})
    write_qrels(folder, "test", {"q": {"d0": 1}})
    Path("lines").write_text("\n".join(DOCUMENTS))
    return Path.cwd()


def test_every_command_that_takes_a_model_is_asked_here() -> None:
    assert set(parameters()) == TAKES.keys()


@pytest.mark.parametrize(("command", "parameter"), TAKES, ids=lambda word: word)
def test_a_wrong_name_is_told_in_one_line_with_the_names_and_at_once(
    command: str, parameter: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.demo.cli.read_library", lambda _: pytest.fail("it read before it looked"))
    option = [] if command == "verify" else ["--" + parameter.replace("_", "-")]
    done = slimrank(*TAKES[command, parameter], *option, "no-such-model")
    told = f"asked for the model no-such-model, and there is no such folder, and no model of that name ships; name one of {DEFAULT_MODEL_NAME}, {SHALLOW}"
    if command == "doctor":
        [fault] = [found for found in json.loads(done.out) if found["state"] == "fault"]
        assert (done.code, fault["name"]) == (1, "model") and told in fault["words"]
    else:
        lines = [line for line in done.err.splitlines() if "no-such-model" in line]
        assert (done.code, done.out, len(lines)) == (2, "", 1) and told in lines[0] and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["rank", "--query", "red shoes", "lines"], '"index": 0'),
        (["evaluate", "--data", "set", "--json"], '"nDCG@10"'),
        (["evaluate", "--data", "set", "--cascade-model", SHALLOW, "--cascade-keep", "1", "--json"], '"nDCG@10"'),
        (["bench", "determinism", "--rounds", "1", "--threads", "1", "--json"], "{"),
        (["doctor", "--json"], f"{SHALLOW} (fp32) at "),
    ],
    ids=lambda value: "-".join(value[:1]) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_command_runs_a_model_by_its_name(
    command: list[str], words: str, way: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("SLIMRANK_MODEL", SHALLOW)
    done = slimrank(*command, *(["--model", SHALLOW] if way == "option" else []))
    assert done.code == 0 and words in done.out, done.out + done.err


def test_verify_takes_a_name(shipping: Shipping) -> None:
    done = slimrank("verify", SHALLOW, "--json")
    assert (done.code, json.loads(done.out)["folder"]) == (0, str(shipping.shallow)), done.err


def test_doctor_says_which_command_makes_a_name_that_is_not_made(shipping: Shipping) -> None:
    [found] = [
        one for one in json.loads(slimrank("doctor", "--json", "--model", DEFAULT_MODEL_NAME).out) if one["name"] == "model"
    ]
    assert (found["state"], found["cure"]) == ("warning", f"slimrank model pull {DEFAULT_MODEL_NAME} (minutes, once)")
    assert found["words"] == f"the model {DEFAULT_MODEL_NAME} is not at {shipping.home / 'models' / DEFAULT_MODEL_NAME} yet"


def test_what_scores_in_a_callers_process_takes_a_name(shipping: Shipping, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Reranker.load(shipping.shallow).scorer.score("red", DOCUMENTS).scores.tolist()
    assert Reranker.load(SHALLOW).scorer.score("red", DOCUMENTS).scores.tolist() == wanted

    async def proxied() -> list[float]:
        scorer = EmbeddedScorer(Path(SHALLOW))
        await scorer.start()
        try:
            return (await scorer.score("red", DOCUMENTS, instruction=None, timeout_seconds=30)).scores.tolist()
        finally:
            await scorer.stop()

    assert len(asyncio.run(proxied())) == len(wanted)
    monkeypatch.setenv("SLIMRANK_MODEL", SHALLOW)
    assert LocalGrader(3).identity["model"] == SHALLOW
    monkeypatch.setenv("SLIMRANK_CASCADE_MODEL", SHALLOW)
    both = Model.from_settings(load(cascade_keep=1))
    answer = both.score(Job(RerankRequest("red", DOCUMENTS)))
    assert answer.model.name == SHALLOW and sum(score > -900 for score in answer.scored.scores) == 1, "one reached the full model"


@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_server_runs_a_model_by_its_name(way: str, shipping: Shipping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = process.free_port()
    command = [sys.executable, "-m", "slimrank", "serve", "--embedded", "--port", str(port)]
    if way == "option":
        command += ["--model", SHALLOW]
    else:
        monkeypatch.setenv("SLIMRANK_MODEL", SHALLOW)
    url = f"http://127.0.0.1:{port}"
    with process.running(command, folder=tmp_path, is_up=lambda: process.answers(f"{url}/readyz"), timeout_seconds=120):
        answer = httpx.post(f"{url}/v1/rerank", json={"query": "red", "documents": DOCUMENTS}, timeout=30).json()
        assert answer["model"] == SHALLOW and len(answer["results"]) == len(DOCUMENTS)
