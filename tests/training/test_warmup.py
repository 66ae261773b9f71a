"""Stage 1 on a tiny model, with its three objectives."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from slimrank.errors import ConfigError, DataError
from slimrank.prompt import SLIMRANK, PromptEncoder
from tests.training.conftest import make_groups
from training.calibration import calibrated, kept_margin
from training.config import ModelConfig, WarmupConfig, read_config
from training.data.couples import CoupleSource, Pair
from training.data.groups import write_groups
from training.judge import AnswerModel, Plateau, RewardWatch, judge_dev, mean_margin
from training.model import GroupScorer, load_model
from training.warmup import train

TINY = Path("training/configs/tiny-warmup.yaml")


def tiny(base: Path, groups: Path, out: Path, **more: object) -> WarmupConfig:
    return read_config(TINY, WarmupConfig, model__base=base, groups=groups, output=out, **more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def started(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an adapter that has learnt to answer in digits; the draws of a random model would never get a reward."""
    folder = tmp_path_factory.mktemp("started")
    write_groups(folder / "groups.jsonl", make_groups(24))
    return train(tiny(base, folder / "groups.jsonl", folder / "run", objective="ce", steps=40, checkpoint_minutes=5))


@pytest.mark.parametrize("objective", ["exact", "ce"])
def test_without_sampling_right_answers_become_more_probable(
    objective: str, base: Path, started: Path, groups_file: Path, tmp_path: Path
) -> None:
    more = {"objective": objective, "optimizer__learning_rate": 2e-3, "steps": 30, "checkpoint_minutes": 5}
    begin = {} if objective == "ce" else {"model__start": started}  # an adapter that cross-entropy trained
    train(tiny(base, groups_file, tmp_path / "run", **begin, **more))
    log = lines(tmp_path / "run" / "log.jsonl")
    if objective == "ce":  # cross-entropy trains each answer, not both answers of a couple together
        assert sum(step["loss"] for step in log[-5:]) < sum(step["loss"] for step in log[:5])
    else:
        assert sum(step["both_right"] for step in log[-5:]) > 1.2 * sum(step["both_right"] for step in log[:5])
    first, last = (lines(tmp_path / "run" / "dev.jsonl")[place] for place in (0, -1))
    assert (first["step"], last["step"]) == (0, 30)
    assert first["strangers/bias"] == pytest.approx(0, abs=1e-3)
    assert {name.partition("/")[2] for name in last if "/" in name} == {
        "balanced_accuracy", "auc", "bias", "gap", "legal", "zero_variance",
    }  # fmt: skip


def test_grpo_runs_resumes_and_writes_no_pickles(base: Path, started: Path, groups_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    draws = {"objective": "grpo", "model__start": started, "generations": 32}
    train(tiny(base, groups_file, out, steps=3, **draws))
    assert not (out / "checkpoint-4").exists()
    margin = kept_margin(out)
    final = train(tiny(base, groups_file, out, steps=6, **draws))
    assert kept_margin(out) == margin
    assert [step["step"] for step in lines(out / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [look["step"] for look in lines(out / "dev.jsonl")] == [0, 3, 6]
    assert json.loads((out / "checkpoint-6" / "trainer_state.json").read_text())["global_step"] == 6
    assert {path.name for path in final.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    assert not [path for path in out.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_trls_log_probabilities_of_all_draws_come_from_one_forward_pass(base: Path, groups_file: Path, tmp_path: Path) -> None:
    from training.grpo import make_trainer

    judge = make_judge(base)
    judge.margin = 1.5
    source = CoupleSource(make_groups(8), 0)
    trainer = make_trainer(tiny(base, groups_file, tmp_path / "run", reference_weight=0.0), judge, source)
    rows = [[5, 6, 7], [5, 6, 7], [5, 8]]
    padded = torch.tensor([[5, 6, 7, 3], [5, 6, 7, 4], [0, 5, 8, 3]])
    mask = (padded > 0).long()
    found, entropies, _ = trainer._get_per_token_logps_and_entropies(judge.scorer.model, padded, mask, 1)
    expected = torch.stack([torch.log_softmax(judge.logits_of([row]).float(), -1)[0] for row in rows])
    assert torch.allclose(found[:, 0], expected[[0, 1, 2], [3, 4, 3]], atol=1e-5)
    assert torch.allclose(entropies[:, 0], -(expected.exp() * expected).sum(-1), atol=1e-4)


def test_stage_two_continues_with_the_adapter_of_stage_one(started: Path, base: Path, groups_file: Path, tmp_path: Path) -> None:
    from training.config import FinegrainedConfig
    from training.finegrained import train as finegrained

    config = read_config(
        Path("training/configs/tiny.yaml"), FinegrainedConfig, model__base=base, model__start=started, groups=groups_file,
        output=tmp_path / "two", steps=2, checkpoint_minutes=5,
    )  # fmt: skip
    assert (finegrained(config) / "adapter_model.safetensors").is_file()


def make_judge(base: Path) -> AnswerModel:
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(base / "tokenizer.json")))
    model = load_model(ModelConfig.model_validate({"base": base, "adapter": {"rank": 4, "alpha": 4}}))
    return AnswerModel(GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id), encoder)


def test_calibration_removes_the_bias_and_changes_no_order(base: Path) -> None:
    judge, couples = make_judge(base), CoupleSource(make_groups(12), 0).at_level(WarmupConfig(steps=1).levels[0])
    before = judge_dev(judge, {"all": couples}, 8)
    judge.margin = mean_margin(judge, couples)
    after = judge_dev(judge, {"all": couples}, 8)
    assert abs(before["all/bias"]) > 0.01
    assert after["all/bias"] == pytest.approx(0, abs=1e-3)
    assert after["all/auc"] == before["all/auc"]


def test_a_margin_changes_only_the_logits_of_the_two_digits() -> None:
    shifted = calibrated(torch.zeros(1, 5), 3.0, relevant_id=4, irrelevant_id=2)
    assert shifted.tolist() == [[0.0, 0.0, 1.5, 0.0, -1.5]]


def test_a_row_scores_the_same_alone_and_in_a_batch_of_other_lengths(base: Path) -> None:
    judge = make_judge(base)
    pairs = [Pair("river", "a river " * count, relevant=True) for count in (9, 1, 5, 2, 7, 3, 8, 4, 6, 10)]
    together = judge.logits(pairs)
    alone = torch.cat([judge.logits([pair]) for pair in pairs])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("name", ["warmup", "prorank-0.5b-warmup"])
def test_the_committed_configurations_begin_with_strangers_and_end_with_near_hits(name: str) -> None:
    levels = read_config(Path("training/configs") / f"{name}.yaml", WarmupConfig).levels
    assert [level.ranks for level in levels] == [None, (10, 50), (2, 10)]


@pytest.mark.parametrize("name", ["finegrained-after-warmup", "harden"])
def test_stage_two_and_later_stages_start_from_an_adapter(name: str) -> None:
    from training.config import FinegrainedConfig

    config = read_config(Path("training/configs") / f"{name}.yaml", FinegrainedConfig)
    assert config.model.start is not None


def test_levels_in_the_wrong_order_are_refused(base: Path, groups_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"levels begin at the steps \[1, 1\]"):
        tiny(base, groups_file, tmp_path, levels=[{"from_step": 1}, {"from_step": 1, "ranks": [2, 10]}])


def test_a_level_without_couples_is_refused_before_the_first_step(base: Path, groups_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs 2 couples, and 0 groups have one at the level hits_2_10"):
        train(tiny(base, groups_file, tmp_path / "run", levels=[{"ranks": [2, 10]}]))


def test_a_run_without_any_reward_warns_and_fails(
    base: Path, groups_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError, match="in 6 steps no couple was judged right"):
        train(tiny(base, groups_file, tmp_path / "run", objective="exact", checkpoint_minutes=5))
    assert [record.getMessage() for record in caplog.records if "judged right" in record.getMessage()] == [
        "no couple judged right for steps=3", "no couple judged right for steps=6",
    ]  # fmt: skip
    assert not list((tmp_path / "run").glob("step-*"))


def test_a_run_with_one_reward_or_without_steps_does_not_fail() -> None:
    watch = RewardWatch(10)
    watch.finish()
    for reward in (0.0, 0.1, 0.0):
        watch.take(reward)
    watch.finish()


def test_a_plateau_is_reached_after_patience_evaluations_without_a_better_value() -> None:
    plateau = Plateau(2)
    assert [plateau.reached(value) for value in (0.5, 0.6, 0.6, 0.55)] == [False, False, False, True]


def test_a_loss_that_is_not_finite_stops(base: Path, tmp_path: Path) -> None:
    write_groups(tmp_path / "groups.jsonl", make_groups(24))
    config = tiny(base, tmp_path / "groups.jsonl", tmp_path / "run", objective="exact", accuracy_weight=float("nan"))
    with pytest.raises(ConfigError, match="the loss of step 1 is nan"):
        train(config)
