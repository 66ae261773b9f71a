"""``slimrank bench engine`` at tiny size: every contender gets the same tokens, and their scores agree."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from slimrank.bench.engine import INSTALLED_PEERS, compare
from slimrank.errors import ConfigError
from tests.command import slimrank
from tests.tiny import make_model


@pytest.mark.slow
def test_all_contenders_give_the_same_scores(tiny_model: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    plain = make_model(tiny_checkpoint, tmp_path / "plain", plain=True)
    report = compare(tiny_model, plain=plain, checkpoint=tiny_checkpoint, data=None, queries=2, depth=5, threads=2, seed=0)
    installed = {name for name, package in INSTALLED_PEERS.items() if find_spec(package)}
    always = {"fused", "fused-alone", "plain", "torch-fp32", "torch-bf16", "minilm-sized-fp32"}
    assert set(report["contenders"]) == always | installed
    assert "largest_difference_from_ours" not in report["contenders"].pop("minilm-sized-fp32"), "its weights are random"
    for name, figures in report["contenders"].items():
        assert figures["largest_difference_from_ours"] < (0.5 if name.endswith("bf16") else 1e-3)
    assert all(ratio > 0 for ratio in report["ratios"].values())
    assert report["pairs"] == 10


def test_a_checkpoint_of_other_weights_is_refused(tiny_model: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "other")
    with (tmp_path / "other" / "model.safetensors").open("ab") as stream:
        stream.write(b"0")
    given: dict[str, Any] = {"queries": 1, "depth": 1, "threads": 1, "seed": 0, "data": None, "plain": None}
    with pytest.raises(ConfigError, match="was exported from weights"):
        compare(tiny_model, checkpoint=tmp_path / "other", **given)


def test_a_contender_without_time_left_answers_one_request_only(tiny_model: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"queries": 4, "depth": 2, "threads": 1, "seed": 0, "data": None, "checkpoint": tmp_path}
    kept: list[dict[str, Any]] = []
    report = compare(tiny_model, plain=tiny_model, **given, seconds=0.0, without=["fused-alone"], keep=kept.append)
    assert {name: figures["requests"] for name, figures in report["contenders"].items()} == {"fused": 1, "plain": 1}
    assert [list(each["contenders"]) for each in kept] == [["fused"], ["fused", "plain"]]


def test_the_command_asks_fewer_documents_with_quick_and_draws_the_comparison(tiny_model: Path, tmp_path: Path) -> None:
    given = ("--model", tiny_model, "--plain", tiny_model, "--checkpoint", tmp_path, "--threads", 1, "--requests", 1)
    done = slimrank("bench", "engine", "--quick", *given, "--plot", tmp_path / "engine.svg", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["requests"], report["depth"], set(report["contenders"])) == (1, 20, {"fused", "fused-alone", "plain"})
    assert (tmp_path / "engine.svg").stat().st_size > 1000


def test_a_model_without_a_contender_is_refused_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    done = slimrank("bench", "engine", "--quick", "--model", tiny_model, "--checkpoint", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "there is nothing to compare with" in done.err
