"""Stage 2 on a tiny model: it learns, it resumes after a kill, it stops clearly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from slimrank.errors import ConfigError, DataError
from slimrank.prompt import SLIMRANK, PromptEncoder
from tests.training.conftest import make_base, make_groups
from training.checkpoint import checkpoints
from training.config import FinegrainedConfig, ModelConfig, read_config
from training.data.groups import write_groups
from training.finegrained import group_order, train
from training.model import GroupScorer, load_model
from training.scorer import TorchScorer
from training.stepper import Stepper

TINY = Path("training/configs/tiny.yaml")


def tiny(base: Path, groups: Path, out: Path, **more: object) -> FinegrainedConfig:
    return read_config(TINY, FinegrainedConfig, model__base=base, groups=groups, output=out, **more)


def losses(out: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in map(json.loads, (out / "log.jsonl").read_text().splitlines())}


def test_the_loss_falls_and_the_checkpoint_is_complete(base: Path, groups_file: Path, tmp_path: Path) -> None:
    last = train(tiny(base, groups_file, tmp_path / "run", steps=80, checkpoint_minutes=5))
    found = losses(tmp_path / "run")
    assert list(found) == list(range(1, 81))
    assert sum(list(found.values())[-10:]) < 0.8 * sum(list(found.values())[:10])
    assert {path.name for path in last.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json", "state.safetensors"}
    assert not [path for path in (tmp_path / "run").rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_shared_prefix_gives_the_same_scores_as_whole_pairs(architecture: str, tmp_path: Path) -> None:
    folder = make_base(tmp_path / "base", architecture)
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(folder / "tokenizer.json")))
    model = load_model(ModelConfig(base=folder)).eval()
    documents = ["a spoon", "a much longer text on forks and knives and plates", "rain"]
    scorer = GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id)
    scores = TorchScorer(scorer, encoder).score("spoon", documents).scores
    for document, score in zip(documents, scores, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([encoder.pair_ids("spoon", document).ids])).logits[0, -1]
        assert float(logits[encoder.relevant_id] - logits[encoder.irrelevant_id]) == pytest.approx(float(score), abs=1e-4)


def test_groups_in_one_batch_get_the_same_scores_as_single_groups(base: Path) -> None:
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(base / "tokenizer.json")))
    scorer = GroupScorer(
        load_model(ModelConfig(base=base)).eval(), relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id
    )
    texts = {"spoon": ["a spoon", "a much longer text on forks and knives and plates", "rain"], "rain in may": ["rain", "a fork"]}
    groups = []
    for query, documents in texts.items():
        prefix = encoder.prefix_ids(query).ids
        groups.append((prefix, [piece.ids + list(encoder.suffix_ids) for piece in encoder.document_ids(documents, len(prefix))]))
    with torch.inference_mode():
        together, alone = scorer.together(groups), [scorer(*group) for group in groups]
    assert [len(scores) for scores in together] == [3, 2]
    torch.testing.assert_close(torch.cat(together), torch.cat(alone), atol=1e-4, rtol=0)


def test_a_step_learns_the_same_from_one_batch_as_from_single_groups(base: Path, groups_file: Path, tmp_path: Path) -> None:
    found = []
    for batched in (False, True):
        config = tiny(base, groups_file, tmp_path / f"{batched}", steps=4, one_forward=batched, optimizer__groups_per_step=3)
        train(config.model_copy(update={"document_tokens": {24: 1.0}}))
        found.append(list(losses(tmp_path / f"{batched}").values()))
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_layers_below_the_first_have_no_adapter(base: Path) -> None:
    model = load_model(ModelConfig.model_validate({"base": base, "adapter": {"rank": 2, "first_layer": 1}}))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all(".layers.1." in name for name in trained)


def test_the_first_layers_can_be_kept_alone(base: Path) -> None:
    assert len(load_model(ModelConfig(base=base, adapter=None, layers=1)).model.layers) == 1


def test_a_killed_run_resumes_with_the_same_losses(base: Path, groups_file: Path, tmp_path: Path) -> None:
    train(tiny(base, groups_file, tmp_path / "whole"))
    command = [sys.executable, "-m", "slimrank", "train", "finegrained", str(TINY)]
    command += ["--base", str(base), "--groups", str(groups_file), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _wait_for_checkpoint(tmp_path / "killed", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(checkpoints(tmp_path / "killed"))
    assert done
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    whole, killed = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert list(killed) == list(whole)
    assert killed == pytest.approx(whole, abs=2e-4)


def _wait_for_checkpoint(out: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while len(checkpoints(out)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(base: Path, groups_file: Path, tmp_path: Path) -> None:
    train(tiny(base, groups_file, tmp_path / "run", steps=3))
    before = checkpoints(tmp_path / "run")
    poisoned = [group for group in make_groups(24)]
    write_groups(tmp_path / "bad.jsonl", [type(g)(**{**_fields(g), "teacher": (float("nan"),) * 4}) for g in poisoned])
    with pytest.raises(ConfigError, match="the loss of step 4 is nan"):
        train(tiny(base, tmp_path / "bad.jsonl", tmp_path / "run", steps=6))
    assert checkpoints(tmp_path / "run") == before


def _fields(group: object) -> dict[str, object]:
    return {name: getattr(group, name) for name in group.__slots__}  # type: ignore[attr-defined]


def test_an_empty_data_set_stops_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no training groups"):
        train(tiny(tmp_path / "nowhere", tmp_path / "empty.jsonl", tmp_path / "run"))


def test_a_checkpoint_that_cannot_be_written_is_refused_with_a_message(base: Path, groups_file: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises((ConfigError, FileExistsError)):
        train(tiny(base, groups_file, tmp_path / "run"))


def test_a_wrong_key_of_the_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("steps: 3\nlearning_rate: 1\n")
    with pytest.raises(ConfigError, match=r"learning_rate: Extra inputs"):
        read_config(tmp_path / "wrong.yaml", FinegrainedConfig)


def test_a_learning_rate_rises_stays_and_falls_to_zero() -> None:
    config = read_config(TINY, FinegrainedConfig, optimizer__decay_share=0.5, optimizer__warmup_steps=4)
    stepper = Stepper(torch.nn.Linear(2, 2), config.optimizer, 20)
    rates = [stepper.learning_rate(step) / config.optimizer.learning_rate for step in range(1, 21)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:11] == pytest.approx([1.0] * 7)
    assert rates[-1] == pytest.approx(0.1)


def test_every_group_is_visited_once_an_epoch() -> None:
    order = group_order(5, 12, seed=1)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order[:7] == group_order(5, 7, seed=1)
