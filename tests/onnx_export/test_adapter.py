"""Merging an adapter, compared with PEFT."""

import json
from pathlib import Path

import pytest
import torch

from onnx_export import shipped
from onnx_export.adapter import merge, record_precision, recorded_precision, values_of
from onnx_export.cli import pull
from onnx_export.source import BASE_MODEL_NAME, SOURCE_FILE
from slimrank import manifest, store
from slimrank.adapters import is_adapter
from slimrank.errors import ModelSourceError
from slimrank.settings import DEFAULT_MODEL_NAME
from slimrank.store import shipped_adapter
from tests.tiny import make_adapter, make_checkpoint


def adapter_of(base: Path, folder: Path) -> torch.Tensor:
    """Write a random adapter; return the logits of the base model with the adapter, computed by PEFT."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.3)
    model.save_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(torch.arange(3, 13)[None]).logits


def test_a_merged_checkpoint_scores_as_peft_does(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = make_checkpoint(tmp_path / "base")
    wanted = adapter_of(base, tmp_path / "adapter")
    values = {"fusion": {"weight": 0.3, "first_stage": "bm25"}, "calibration": {"scale": 2.0, "offset": -1.0}, "other": 1}
    (tmp_path / "adapter" / "slimrank.json").write_text(json.dumps(values))

    merged = merge(tmp_path / "adapter", base, tmp_path / "merged")

    with torch.inference_mode():
        found = AutoModelForCausalLM.from_pretrained(merged).eval()(torch.arange(3, 13)[None]).logits
    assert torch.allclose(found, wanted, atol=1e-4)
    assert values_of(merged) == {name: values[name] for name in ("fusion", "calibration")}
    assert is_adapter(tmp_path / "adapter")
    assert not is_adapter(merged)


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    base = make_checkpoint(tmp_path / "base")
    adapter_of(base, tmp_path / "adapter")
    save_file({"base_model.model.other.lora_A.weight": torch.zeros(2, 4)}, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelSourceError, match="does not fit the base model"):
        merge(tmp_path / "adapter", base, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="holds no LoRA adapter"):
        merge(tmp_path, make_checkpoint(tmp_path / "base"), tmp_path / "merged")


def test_the_default_models_adapter_is_shipped_with_fitted_values() -> None:
    assert values_of(shipped_adapter(DEFAULT_MODEL_NAME)).keys() == {"fusion", "calibration"}


def test_the_default_model_is_made_once_and_again_only_for_another_adapter_or_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, adapter = tmp_path / "home", tmp_path / "shipped" / DEFAULT_MODEL_NAME
    base = make_checkpoint(home / "base" / BASE_MODEL_NAME)
    (base / SOURCE_FILE).write_text("{}")
    make_adapter(base, adapter)
    monkeypatch.setattr(store, "SHIPPED", (adapter.parent,))
    graph = home / "models" / DEFAULT_MODEL_NAME / manifest.GRAPH_FILE

    pull(home=home)
    made = graph.stat().st_mtime_ns
    found = manifest.check(graph.parent)
    assert found.trained
    assert (found.fusion.weight, found.calibration.scale) == (0.3, 2.0)
    pull(home=home)
    assert graph.stat().st_mtime_ns == made
    del found.made_with[shipped.GRAPH_NUMBER_KEY]  # as in folders that were made before there were numbers
    found.save(graph.parent)
    pull(home=home)
    assert graph.stat().st_mtime_ns == made

    monkeypatch.setitem(shipped.GRAPH_NUMBERS, "fp32", 2)
    pull(home=home)
    assert graph.stat().st_mtime_ns > made
    assert manifest.read(graph.parent).made_with[shipped.GRAPH_NUMBER_KEY] == "2"

    (adapter / "slimrank.json").write_text(json.dumps({"calibration": {"scale": 3.0}}))
    pull(home=home)
    assert manifest.check(graph.parent).calibration.scale == 3.0
    assert "passed" in capsys.readouterr().out


def test_the_model_is_exported_in_the_recorded_precision(tmp_path: Path) -> None:
    exact = {"precision": "fp32", "in_float": (), "in_two": ()}
    assert recorded_precision(tmp_path) == exact
    (tmp_path / "slimrank.json").write_text(json.dumps({"fusion": {"weight": 1.0, "first_stage": "bm25"}}))
    assert recorded_precision(tmp_path) == exact
    record_precision(tmp_path, {"precision": "int8", "in_two": ["down_proj"], "gate": "committed pairs"})
    assert recorded_precision(tmp_path) == exact | {"precision": "int8", "in_two": ("down_proj",)}
    assert values_of(tmp_path)["fusion"]["weight"] == 1.0
