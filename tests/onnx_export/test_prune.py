"""Removing layers from a checkpoint, compared with removing them from the model in memory."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from onnx_export.adapter import values_of
from onnx_export.prune import keep_layers
from slimrank.errors import ModelSourceError


def _logits(folder: Path, layers: int | None = None) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    if layers is not None:
        model.model.layers = model.model.layers[:layers]
    with torch.inference_mode():
        return model(torch.arange(3, 13)[None], use_cache=False).logits


@pytest.mark.parametrize("family", ["tiny_checkpoint", "tiny_qwen_checkpoint"])
def test_the_first_layers_the_norm_and_the_head_are_kept(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    whole: Path = request.getfixturevalue(family)
    pruned = keep_layers(whole, 1, tmp_path / "pruned")
    assert torch.equal(_logits(pruned), _logits(whole, 1))
    assert not torch.allclose(_logits(pruned), _logits(whole))
    assert (pruned / "tokenizer.json").is_file()


def test_values_fitted_to_the_whole_model_are_not_copied(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(tiny_checkpoint, tmp_path / "whole"))
    (whole / "slimrank.json").write_text(json.dumps({"fusion": {"weight": 0.3, "first_stage": "bm25"}}))
    assert values_of(keep_layers(whole, 1, tmp_path / "pruned")) == {}


@pytest.mark.parametrize("layers", [0, 2, 99])
def test_keeping_none_or_all_is_refused(tiny_checkpoint: Path, tmp_path: Path, layers: int) -> None:
    with pytest.raises(ModelSourceError, match="which has 2"):
        keep_layers(tiny_checkpoint, layers, tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match=r"it needs model\.safetensors"):
        keep_layers(tmp_path, 1, tmp_path / "pruned")
