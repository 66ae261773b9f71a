"""Adapters: averaged, reduced to a rank, and loaded as a start."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from slimrank.adapters import layers_of
from slimrank.errors import ConfigError
from training.adapter import average, cut_to_rank, differences
from training.config import FinegrainedConfig, ModelConfig
from training.model import load_model
from training.stepper import Stepper


def adapter(base: Path, folder: Path, seed: int) -> Path:
    model = load_model(ModelConfig.model_validate({"base": base, "adapter": {"rank": 4, "alpha": 8}}))
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.1)
    model.save_pretrained(folder)
    return folder


def test_an_adapter_averaged_with_itself_stays_the_same(base: Path, tmp_path: Path) -> None:
    one = adapter(base, tmp_path / "one", 1)
    assert average([one, one], tmp_path / "mean") == pytest.approx(1.0)
    was, now = differences(one), differences(tmp_path / "mean")
    assert was.keys() == now.keys()
    for module, matrix in was.items():
        assert torch.allclose(now[module], matrix, atol=0.02 * float(matrix.abs().max()))


def test_the_average_of_two_adapters_is_the_mean_of_their_differences(base: Path, tmp_path: Path) -> None:
    folders = [adapter(base, tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    assert average(folders, tmp_path / "mean", rank=8) == pytest.approx(1.0)
    mean = differences(tmp_path / "mean")
    for module, matrix in differences(folders[0]).items():
        wanted = (matrix + differences(folders[1])[module]) / 2
        assert torch.allclose(mean[module], wanted, atol=0.02 * float(wanted.abs().max()))


def test_a_cut_to_a_lower_rank_returns_the_share_that_it_keeps() -> None:
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    tensors, kept = cut_to_rank({"m": (matrix, torch.eye(3))}, 2)
    assert kept == pytest.approx(13 / 14)
    assert torch.allclose(
        tensors["m.lora_B.weight"] @ tensors["m.lora_A.weight"], torch.diag(torch.tensor([3.0, 2.0, 0.0])), atol=1e-6
    )


def test_a_rank_above_the_adapters_own_is_filled_with_zeros(base: Path, tmp_path: Path) -> None:
    one = adapter(base, tmp_path / "one", 1)
    assert average([one], tmp_path / "wide", rank=12) == pytest.approx(1.0)
    was = differences(one)
    for module, matrix in differences(tmp_path / "wide").items():
        assert torch.allclose(matrix, was[module], atol=0.02 * float(was[module].abs().max()))
    load_model(ModelConfig(base=base, start=tmp_path / "wide"))


def test_the_average_loads_as_an_adapter_again(base: Path, tmp_path: Path) -> None:
    average([adapter(base, tmp_path / "one", 1)], tmp_path / "mean")
    loaded = load_model(ModelConfig(base=base, start=tmp_path / "mean"))
    assert any(weight.requires_grad for weight in loaded.parameters())


def test_a_shallow_model_starts_from_the_first_layers_of_a_deep_models_adapter(base: Path, tmp_path: Path) -> None:
    deep = differences(adapter(base, tmp_path / "deep", 1))
    config = ModelConfig.model_validate({"base": base, "layers": 1, "start": tmp_path / "deep"})
    load_model(config).save_pretrained(tmp_path / "shallow")
    shallow = differences(tmp_path / "shallow")
    assert shallow.keys() == {module for module in deep if ".layers.0." in module}
    assert all(torch.equal(shallow[module], deep[module]) for module in shallow)
    assert json.loads((tmp_path / "shallow" / "adapter_config.json").read_text())["layers_to_transform"] == [0]


def test_a_started_adapter_is_trained_from_the_first_layer_up_and_saved_whole(base: Path, tmp_path: Path) -> None:
    start = adapter(base, tmp_path / "start", 1)
    model = load_model(ModelConfig.model_validate({"base": base, "start": start, "adapter": {"first_layer": 1}}))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all(".layers.1." in name for name in trained)
    model.save_pretrained(tmp_path / "saved")
    assert differences(tmp_path / "saved").keys() == differences(start).keys()


def test_a_start_needs_an_adapter_of_the_same_base_model(base: Path, tmp_path: Path) -> None:
    start = adapter(base, tmp_path / "start", 1)
    tensors = load_file(start / "adapter_model.safetensors")
    save_file({name.replace("q_proj", "query"): tensor for name, tensor in tensors.items()}, start / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match=r"does not fit the base model: it changes .*query"):
        load_model(ModelConfig(base=base, start=start))
    with pytest.raises(ConfigError, match=r"cannot load the adapter .*nowhere"):
        load_model(ModelConfig(base=base, start=tmp_path / "nowhere"))


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no LoRA adapter"):
        differences(tmp_path)


def test_an_average_replaces_an_adapter_with_its_fitted_values_and_nothing_else(base: Path, tmp_path: Path) -> None:
    one = adapter(base, tmp_path / "one", 1)
    with pytest.raises(ConfigError, match="one of the averaged adapters"):
        average([one], one)
    average([one], tmp_path / "mean")
    (tmp_path / "mean" / "slimrank.json").write_text("{}")
    average([one], tmp_path / "mean")
    assert sorted(path.name for path in (tmp_path / "mean").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    (tmp_path / "mean" / "README.md").touch()
    with pytest.raises(ConfigError, match="would be lost"):
        average([one], tmp_path / "mean")


def test_an_average_keeps_as_many_layers_of_the_base_model_as_the_averaged_adapters(base: Path, tmp_path: Path) -> None:
    folders = [adapter(base, tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    for folder in folders:
        (folder / "slimrank.json").write_text('{"layers": 1, "fusion": {"weight": 0.5, "first_stage": "bm25"}}')
    average(folders, tmp_path / "mean")
    assert json.loads((tmp_path / "mean" / "slimrank.json").read_text()) == {"layers": 1}
    (folders[1] / "slimrank.json").unlink()
    with pytest.raises(ConfigError, match=r"different numbers of layers \(.*one: 1, .*two: all\)"):
        average(folders, tmp_path / "mean")


@pytest.mark.parametrize("layers", [None, 1])
def test_a_checkpoint_records_how_many_layers_its_adapter_keeps(base: Path, tmp_path: Path, layers: int | None) -> None:
    config = FinegrainedConfig(model=ModelConfig(base=base, layers=layers), output=tmp_path, steps=1)
    stepper = Stepper(load_model(config.model), config.optimizer, config.steps)
    assert layers_of(stepper.save(1, config)) == layers
