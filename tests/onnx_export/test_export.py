"""An export is exact and complete, is refused if it is not verified, and uses the same prompt as all other parts."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from onnx_export import checkpoint as checkpoints
from onnx_export.adapter import merge
from onnx_export.choose import GPU_CANDIDATES, export_fastest
from onnx_export.export import export
from onnx_export.fused import FusedPrecision, in_blocks
from onnx_export.gate import Judged, agreement, judged_pairs, ndcg_at_10, scores_of
from onnx_export.prune import keep_layers
from onnx_export.reference import reference_scores, token_groups
from onnx_export.runner import GraphRunner
from onnx_export.smoothing import smooth
from onnx_export.verify import TOLERANCE, graph_scores, kendall_tau, verify
from slimrank import manifest as manifests
from slimrank import processor
from slimrank.errors import ConfigError, ManifestError, ModelSourceError
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


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_the_serving_graph_supports_biases_and_head_norms(kind: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", kind)
    found = manifests.check(make_model(checkpoint, tmp_path / "model")).verification
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


def in_eight_bits(checkpoint: Path, folder: Path, in_two: Sequence[str] = ()) -> tuple[Any, Any, Any, Any]:
    """Return a group's scores by the reference and by the 8-bit graph: alone, in one batch, after a shared prefix."""
    manifest = export(checkpoint, folder, ignore, precision="int8", in_two=in_two, max_pair_tokens=MAX_PAIR_TOKENS)
    loaded = checkpoints.load(checkpoint)
    encoder = loaded.encoder(SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, max_query_tokens=MAX_PAIR_TOKENS // 2)
    group = next(iter(token_groups(encoder)))
    return reference_scores(loaded, encoder, group), *graph_scores(GraphRunner(folder, manifest), group)


@pytest.mark.parametrize("in_two", [(), IN_TWO], ids=["one step", "two steps"])
def test_a_score_in_eight_bits_does_not_depend_on_other_rows(
    tiny_checkpoint: Path, tmp_path: Path, in_two: Sequence[str]
) -> None:
    _, alone, together, shared = in_eight_bits(tiny_checkpoint, tmp_path / "model", in_two)
    assert together == pytest.approx(alone, abs=1e-5)
    assert shared == pytest.approx(alone, abs=1e-5)


@WITHOUT_SATURATION
def test_scores_in_eight_bits_are_close_to_the_reference(tiny_checkpoint: Path, tmp_path: Path) -> None:
    expected, alone, _, _ = in_eight_bits(tiny_checkpoint, tmp_path / "model")
    assert np.abs(alone - expected).max() < 0.3 * expected.std()


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


@pytest.mark.parametrize("rows", [64, 80])
def test_eight_bits_for_gpus_keep_weights_to_half_a_step(rows: int) -> None:
    weight = np.random.default_rng(2).normal(size=(rows, 48)).astype(np.float32)
    weight[:32, 7] = 0
    steps, scales = in_blocks(weight)
    assert (steps.shape, steps.dtype, scales.dtype) == ((48, -(-rows // 32), 32), np.uint8, np.float16)
    wide = scales.astype(np.float32)[..., None]
    kept = ((steps - 128.0) * wide).reshape(48, -1).T[:rows]
    assert np.abs(kept - weight).max() <= 0.51 * wide.max()
    assert not kept[:32, 7].any()


def test_the_reference_is_the_textbook_computation(tiny_checkpoint: Path) -> None:
    loaded = checkpoints.load(tiny_checkpoint)
    encoder = loaded.encoder(SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, max_query_tokens=MAX_PAIR_TOKENS // 2)
    group = next(iter(token_groups(encoder)))
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    with torch.inference_mode():
        logits = model(torch.tensor([group.prefix + group.rows[0]])).logits[0, -1]
    zero, one = (loaded.tokenizer.token_to_id(answer) for answer in "01")
    assert reference_scores(loaded, encoder, group)[0] == pytest.approx((logits[one] - logits[zero]).item(), abs=1e-5)


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


def test_a_failed_verification_is_recorded_and_refused(model_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("onnx_export.verify").verify.TOLERANCE, "fp32", 0.0)
    assert not verify(model_copy, ignore).passed
    with pytest.raises(ManifestError, match="failed verification"):
        manifests.check(model_copy)


def test_verify_refuses_another_checkpoint(model_copy: Path, tiny_qwen_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="weights differ"):
        verify(model_copy, ignore, checkpoint=tiny_qwen_checkpoint)
    with pytest.raises(ManifestError, match="--checkpoint"):
        verify(model_copy, ignore, checkpoint=tmp_path)


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


def test_kendalls_tau_counts_pairs_in_order() -> None:
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1.0
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1.0
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))
    assert kendall_tau([1, 1], [1, 2]) == 1.0


def test_auto_keeps_a_candidate_that_passes_the_gate_and_records_all_candidates(tiny_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    export_fastest(tiny_checkpoint, target, ignore, name=None, prompt=SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, trained=False)
    manifest = manifests.check(target)
    tried = json.loads(manifest.made_with["candidates"])
    assert {"fp32", "int8"} <= set(tried)
    assert tried["fp32"]["passed"]
    passed = [name for name, figures in tried.items() if figures["passed"]]
    assert len(passed) <= 2, "trying ends with the first that passes"
    kept = min(passed, key=lambda name: tried[name]["seconds"])
    assert manifest.precision == kept[:4]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


HOW: dict[str, Any] = {"name": None, "prompt": SLIMRANK, "max_pair_tokens": MAX_PAIR_TOKENS, "trained": False}


def test_auto_for_a_gpu_times_all_that_pass(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert [candidate.precision for candidate in GPU_CANDIDATES] == ["fp16", "bf16", "int8-gpu"]
    some = [candidate for candidate in GPU_CANDIDATES if candidate.precision != "bf16"]  # which a CPU cannot run
    made = export_fastest(tiny_checkpoint, tmp_path / "model", ignore, candidates=some, times_all=True, **HOW)
    tried = json.loads(made.made_with["candidates"])
    assert set(tried) == {"fp32", "fp16", "int8-gpu"}
    assert tried["fp16"]["passed"]
    assert all(figures["passed"] == ("seconds" in figures) for figures in tried.values())
    assert made.precision == min((name for name in tried if tried[name]["passed"]), key=lambda name: tried[name]["seconds"])


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has a GPU's provider")
def test_auto_for_a_gpu_is_refused_before_any_work_where_there_is_none(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SLIMRANK_PROVIDER=cuda was asked for, and this ONNX Runtime offers"):
        export_fastest(tiny_checkpoint, tmp_path / "model", ignore, candidates=GPU_CANDIDATES, provider="cuda", **HOW)
    assert not list(tmp_path.iterdir())


@WITHOUT_SATURATION
def test_two_steps_are_more_accurate_than_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    off = []
    for in_two in ((), IN_TWO):
        expected, alone, _, _ = in_eight_bits(tiny_checkpoint, tmp_path / "model", in_two)
        off.append(np.sqrt(np.mean((alone - expected) ** 2)))
    assert off[1] < off[0]


def test_the_gate_checks_order_and_ndcg() -> None:
    pairs = [Judged([], [[1], [2], [3]], [0, 2, 0]), Judged([], [[1], [2], [3]], [0, 0, 0])]
    right, wrong = np.array([1, 3, 2], dtype=np.float32), np.array([3, 1, 2], dtype=np.float32)
    assert agreement(pairs, [right * 2, right], [right, right]).passed
    swapped = agreement(pairs, [wrong, right], [right, right])
    assert (swapped.reference_ndcg_at_10, swapped.ndcg_at_10) == (1.0, pytest.approx(0.5))
    assert not swapped.passed
    assert not agreement(pairs, [right, -right], [right, right]).passed, "no judgments, but another order"


def test_the_pairs_of_the_gate_can_come_from_a_collection(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(["red apples", "green pears", "red wine"])]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "red wine"}) + "\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td2\t1\n")
    (query,) = judged_pairs(tiny_model, [tmp_path])
    assert query.relevance == [1, 0]
    scores = scores_of(GraphRunner(tiny_model, manifests.read(tiny_model)), [query])
    assert scores[0].shape == (2,)
    assert ndcg_at_10([query], [np.array([0, 1], dtype=np.float32)]) == pytest.approx(0.631, abs=1e-3)
