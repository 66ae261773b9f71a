"""An export is exact and complete, is refused if it is not verified, and uses the same prompt as all other parts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from onnx_export import checkpoint as checkpoints
from onnx_export.adapter import merge
from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.prune import keep_layers
from onnx_export.reference import reference_scores, token_groups
from onnx_export.runner import GraphRunner
from onnx_export.smoothing import smooth
from onnx_export.verify import TOLERANCE, verify
from slimrank import manifest as manifests
from slimrank import processor
from slimrank.errors import ConfigError, ModelSourceError
from slimrank.prompt import QWEN3, SLIMRANK, PromptEncoder
from tests.command import slimrank
from tests.tiny import MAX_PAIR_TOKENS, make_adapter, make_checkpoint, make_model


def ignore(*told: object) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def plain_model(tiny_qwen_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tiny_qwen_checkpoint, tmp_path_factory.mktemp("models") / "tiny-qwen2", plain=True)


def test_the_graph_gives_the_full_heads_scores_at_every_length_and_batch(tiny_model: Path) -> None:
    found = manifests.read(tiny_model).verification
    assert found is not None
    assert found.passed
    assert found.max_score_difference < 1e-4
    assert found.rank_agreement == 1.0
    assert found.pairs == 44


def test_optimums_graph_gives_the_full_heads_scores_too(plain_model: Path) -> None:
    found = manifests.check(plain_model).verification
    assert found is not None
    assert found.max_score_difference < 1e-4


def test_smoothing_changes_no_score(tiny_checkpoint: Path) -> None:
    loaded = checkpoints.load(tiny_checkpoint)
    encoder = loaded.encoder(SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, max_query_tokens=MAX_PAIR_TOKENS // 2)
    group = next(iter(token_groups(encoder)))
    before = reference_scores(loaded, encoder, group)
    norm = loaded.model.model.layers[0].input_layernorm.weight.clone()
    smooth(loaded.model, lambda: reference_scores(loaded, encoder, group))
    assert not torch.allclose(norm, loaded.model.model.layers[0].input_layernorm.weight)
    assert reference_scores(loaded, encoder, group) == pytest.approx(before, abs=1e-4)


WITHOUT_SATURATION = pytest.mark.skipif(
    processor.eight_bit_products() == [], reason="this processor multiplies 8 bits through 16, which saturate on random weights"
)


IN_TWO = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "layers.0.mlp.down_proj", "down_proj")


def test_eight_bits_are_refused_without_a_serving_graph(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="export it in fp32"):
        export(tiny_checkpoint, tmp_path / "model", ignore, precision="int8", plain=True)


@pytest.mark.parametrize(("kind", "precision", "tolerance"), [("llama", "fp16", 0.05), ("qwen3", "int8-gpu", 0.5)])
def test_precisions_for_gpus_are_verified_as_any_other(
    kind: str, precision: FusedPrecision, tolerance: float, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", kind)
    export(checkpoint, tmp_path / "model", ignore, precision=precision, max_pair_tokens=MAX_PAIR_TOKENS)
    found = verify(tmp_path / "model", ignore)
    assert (found.tolerance, found.passed) == (tolerance, True)
    assert found.max_score_difference > 1e-4, "it is not float32"
    assert manifests.check(tmp_path / "model").precision == precision


def test_padding_on_either_side_gives_the_same_score(tiny_model: Path, tiny_checkpoint: Path) -> None:
    ids = list(range(40, 60))
    runner = GraphRunner(tiny_model, manifests.read(tiny_model))
    beside_longer = runner.score([ids, ids * 3])[0]  # padded on the right
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    mask = torch.tensor([[0] * 40 + [1] * 20])
    with torch.inference_mode():
        logits = model(
            torch.tensor([[0] * 40 + ids]), attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)
        ).logits[0, -1]
    manifest = manifests.read(tiny_model)
    assert beside_longer == pytest.approx((logits[manifest.relevant_id] - logits[manifest.irrelevant_id]).item(), abs=1e-4)


def test_the_folder_gives_the_same_token_ids_as_the_checkpoint(tiny_model: Path, tiny_checkpoint: Path) -> None:
    def ids(tokenizer_file: Path) -> list[int]:
        encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file)), max_pair_tokens=MAX_PAIR_TOKENS)
        return encoder.pair_ids("how to read 1 file", "open(path) <|im_end|> naïve", "prefer recent manuals").ids

    assert ids(tiny_model / "tokenizer.json") == ids(tiny_checkpoint / "tokenizer.json")


def test_a_failed_export_leaves_the_earlier_folder(tiny_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    with pytest.raises(ConfigError, match='the answer "yes"'):
        export(tiny_checkpoint, target, ignore, prompt=QWEN3)
    with pytest.raises(ModelSourceError, match="not a checkpoint"):
        export(tmp_path, target, ignore)
    assert [path.name for path in tmp_path.rglob("*")] == ["model"]


@pytest.mark.parametrize("out", ["checkpoint", "parent", "homework"])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_an_export_never_replaces_a_folder_that_is_not_a_model_folder(
    tiny_checkpoint: Path, tmp_path: Path, out: str, precision: str
) -> None:
    checkpoint = Path(shutil.copytree(tiny_checkpoint, tmp_path / "in" / "checkpoint"))
    (tmp_path / "homework").mkdir()
    (tmp_path / "homework" / "manifest.json").write_text('{"name": "an extension of a browser"}')
    target = {"checkpoint": checkpoint, "parent": checkpoint.parent, "homework": tmp_path / "homework"}[out]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = slimrank("export", checkpoint, "--out", target, "--precision", precision, "--home", tmp_path / "home")
    assert (done.code, "neither empty nor a model folder and would be lost" in done.err) == (2, True), done.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_model_folder_with_other_files_is_not_replaced(model_copy: Path, tiny_checkpoint: Path) -> None:
    (model_copy / "notes.md").write_text("what we measured")
    with pytest.raises(ConfigError, match="would be lost"):
        export(tiny_checkpoint, model_copy, ignore)


def test_an_export_that_fails_its_verification_leaves_the_served_folder(
    model_copy: Path, tiny_qwen_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    monkeypatch.setitem(TOLERANCE, "fp32", -1.0)
    done = slimrank("export", tiny_qwen_checkpoint, "--out", model_copy)
    assert done.code == 2
    assert f"{model_copy} was not written: scores differ by up to" in " ".join(done.err.split())
    assert {path.name: path.read_bytes() for path in model_copy.iterdir()} == before
    assert [path.name for path in model_copy.parent.iterdir()] == [model_copy.name]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}", (9).to_bytes(8, "little") + b"not a map"],
    ids=["empty", "random", "huge header", "not JSON"],
)
def test_a_broken_safetensors_file_is_refused_in_one_line(tiny_checkpoint: Path, tmp_path: Path, content: bytes) -> None:
    checkpoint = Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))
    (checkpoint / "model.safetensors").write_bytes(content)
    adapter = make_adapter(tiny_checkpoint, tmp_path / "adapter")
    with pytest.raises(ModelSourceError, match="cannot be loaded"):
        export(checkpoint, tmp_path / "out", ignore)
    with pytest.raises(ModelSourceError, match=r"model\.safetensors is not a safetensors file"):
        merge(adapter, checkpoint, tmp_path / "merged")
    with pytest.raises(ModelSourceError, match="cannot take layers off"):
        keep_layers(checkpoint, 1, tmp_path / "pruned")
    (adapter / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ModelSourceError, match="holds no LoRA adapter"):
        merge(adapter, tiny_checkpoint, tmp_path / "merged")


@pytest.mark.parametrize("scale", [-0.5, 0, 1e999])
def test_a_calibration_that_reverses_the_order_is_not_exported(tiny_checkpoint: Path, tmp_path: Path, scale: float) -> None:
    checkpoint = Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))
    (checkpoint / "slimrank.json").write_text(json.dumps({"calibration": {"scale": scale, "offset": 0}}))
    with pytest.raises(ModelSourceError, match=r"slimrank\.json: scale"):
        export(checkpoint, tmp_path / "out", ignore)


HOW: dict[str, Any] = {"name": None, "prompt": SLIMRANK, "max_pair_tokens": MAX_PAIR_TOKENS, "trained": False}
