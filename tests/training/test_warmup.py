"""Stage 1 on a tiny model, by its three objectives."""

import json
from pathlib import Path

import pytest

from slimrank.errors import ConfigError
from tests.training.conftest import make_groups
from training.config import WarmupConfig, read_config
from training.data import write_groups
from training.judge import Plateau
from training.warmup import train

TINY = Path("training/configs/tiny-warmup.yaml")


def tiny(base: Path, groups: Path, out: Path, **more: object) -> WarmupConfig:
    return read_config(TINY, WarmupConfig, model__base=base, groups=groups, output=out, **more)


@pytest.mark.parametrize("objective", ["exact", "ce"])
def test_without_sampling_the_right_answer_becomes_likelier(
    objective: str, base: Path, groups_file: Path, tmp_path: Path
) -> None:
    train(tiny(base, groups_file, tmp_path / "run", objective=objective, steps=30, checkpoint_minutes=5, patience=100))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["legal"] > log[0]["legal"]
    assert "balanced_accuracy" in log[2]


def test_grpo_runs_resumes_and_writes_no_pickles(base: Path, groups_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny(base, groups_file, out, steps=2))
    assert not (out / "checkpoint-3").exists()
    final = train(tiny(base, groups_file, out, steps=4))
    assert (out / "checkpoint-4").is_dir()
    assert json.loads((out / "checkpoint-4" / "trainer_state.json").read_text())["global_step"] == 4
    assert {path.name for path in final.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    assert not [path for path in out.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_stage_two_goes_on_with_the_adapter_of_stage_one(base: Path, groups_file: Path, tmp_path: Path) -> None:
    from training.config import FinegrainedConfig
    from training.finegrained import train as finegrained

    first = train(tiny(base, groups_file, tmp_path / "one", objective="ce"))
    config = read_config(
        Path("training/configs/tiny.yaml"), FinegrainedConfig, model__base=base, model__start=first, groups=groups_file,
        output=tmp_path / "two", steps=2, checkpoint_minutes=5,
    )  # fmt: skip
    assert (finegrained(config) / "adapter_model.safetensors").is_file()


def test_an_odd_batch_cannot_be_balanced(base: Path, groups_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="even number"):
        train(tiny(base, groups_file, tmp_path / "run", batch_pairs=3))


def test_fewer_pairs_than_a_batch_after_filtering_stop_before_the_first_step(
    base: Path, groups_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"a batch takes 1000 pairs.*widen keep_between"):
        train(tiny(base, groups_file, tmp_path / "run", batch_pairs=1000, dev_pairs=2, keep_between=[0.0, 1.0]))


def test_a_plateau_is_reached_after_as_many_looks_as_patience_allows() -> None:
    plateau = Plateau(2)
    assert [plateau.reached(value) for value in (0.5, 0.6, 0.6, 0.55)] == [False, False, False, True]


def test_a_loss_that_is_no_number_stops(base: Path, tmp_path: Path) -> None:
    write_groups(tmp_path / "groups.jsonl", make_groups(24))
    config = tiny(base, tmp_path / "groups.jsonl", tmp_path / "run", objective="exact", accuracy_weight=float("nan"))
    with pytest.raises(ConfigError, match="the loss of step 1 is nan"):
        train(config)
