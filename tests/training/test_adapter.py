"""Averages of adapters and their cut to a rank."""

from pathlib import Path

import pytest
import torch

from slimrank.errors import ConfigError
from training.adapter import average, cut_to_rank, differences
from training.config import ModelConfig
from training.model import load_model


def adapter(base: Path, folder: Path, seed: int) -> Path:
    model = load_model(ModelConfig.model_validate({"base": base, "adapter": {"rank": 4, "alpha": 8}}))
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.1)
    model.save_pretrained(folder)
    return folder


def test_an_adapter_averaged_with_itself_adds_what_it_added(base: Path, tmp_path: Path) -> None:
    one = adapter(base, tmp_path / "one", 1)
    assert average([one, one], tmp_path / "mean") == pytest.approx(1.0)
    was, now = differences(one), differences(tmp_path / "mean")
    assert was.keys() == now.keys()
    for module, matrix in was.items():
        assert torch.allclose(now[module], matrix, atol=0.02 * float(matrix.abs().max()))


def test_the_mean_of_two_is_the_mean_of_what_they_add(base: Path, tmp_path: Path) -> None:
    folders = [adapter(base, tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    assert average(folders, tmp_path / "mean", rank=8) == pytest.approx(1.0)
    mean = differences(tmp_path / "mean")
    for module, matrix in differences(folders[0]).items():
        wanted = (matrix + differences(folders[1])[module]) / 2
        assert torch.allclose(mean[module], wanted, atol=0.02 * float(wanted.abs().max()))


def test_a_cut_to_a_lower_rank_says_what_it_keeps() -> None:
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    tensors, kept = cut_to_rank({"m": matrix}, 2)
    assert kept == pytest.approx(13 / 14)
    assert torch.allclose(
        tensors["m.lora_B.weight"] @ tensors["m.lora_A.weight"], torch.diag(torch.tensor([3.0, 2.0, 0.0])), atol=1e-6
    )


def test_the_average_loads_as_an_adapter_again(base: Path, tmp_path: Path) -> None:
    average([adapter(base, tmp_path / "one", 1)], tmp_path / "mean")
    loaded = load_model(ModelConfig(base=base, start=tmp_path / "mean"))
    assert any(weight.requires_grad for weight in loaded.parameters())


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no LoRA adapter"):
        differences(tmp_path)


def test_an_average_replaces_an_adapter_with_its_fitted_values_and_nothing_else(base: Path, tmp_path: Path) -> None:
    one = adapter(base, tmp_path / "one", 1)
    with pytest.raises(ConfigError, match="one of those averaged"):
        average([one], one)
    average([one], tmp_path / "mean")
    (tmp_path / "mean" / "slimrank.json").write_text("{}")
    average([one], tmp_path / "mean")
    assert sorted(path.name for path in (tmp_path / "mean").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    (tmp_path / "mean" / "README.md").touch()
    with pytest.raises(ConfigError, match="would be lost"):
        average([one], tmp_path / "mean")
