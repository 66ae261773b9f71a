"""The comparison of ways to train: they learn the same, and a difference is an error."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slimrank.errors import ConfigError, DataError
from tests.training.conftest import make_groups
from training import speed
from training.cli import app
from training.config import FinegrainedConfig, read_config
from training.data.groups import write_groups

TINY = Path("training/configs/tiny.yaml")


def test_the_ways_learn_the_same_and_speeds_are_relative_to_the_first(base: Path, groups_file: Path) -> None:
    arguments = ["speed", str(TINY), "--base", str(base), "--groups", str(groups_file), "--count", "3", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert [way["way"] for way in found["ways"]] == [speed.WHOLE, speed.SHARED, speed.FOLDED]
    assert found["ways"][0]["times"] == 1.0
    assert all(way["pairs_per_second"] > 0 for way in found["ways"])
    assert found["pairs"] == 3 * 4
    assert found["losses_apart"] < 1e-3


def test_a_loss_that_is_not_finite_never_counts_as_the_same_loss(base: Path, tmp_path: Path) -> None:
    poisoned = [replace(group, teacher=(float("nan"),) * 4) for group in make_groups(2)]
    write_groups(tmp_path / "bad.jsonl", poisoned)
    config = read_config(TINY, FinegrainedConfig, model__base=base, groups=tmp_path / "bad.jsonl")
    with pytest.raises(ConfigError, match="the ways do not learn the same"):
        speed.measure(config, groups=1)


def test_groups_without_labels_and_teacher_scores_are_refused(base: Path, tmp_path: Path) -> None:
    silent = [replace(group, relevance=(None,) * 4) for group in make_groups(2, teacher=False)]
    write_groups(tmp_path / "silent.jsonl", silent)
    config = read_config(TINY, FinegrainedConfig, model__base=base, groups=tmp_path / "silent.jsonl")
    with pytest.raises(DataError, match="no group with labels or teacher scores"):
        speed.measure(config, groups=1)
