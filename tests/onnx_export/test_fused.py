"""The serving graph scores as its checkpoint does, in float32 and in 8 bits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_export import checkpoint as checkpoints
from onnx_export.export import export
from onnx_export.fused import in_blocks
from onnx_export.reference import reference_scores, token_groups
from onnx_export.runner import GraphRunner
from onnx_export.verify import graph_scores
from slimrank import manifest as manifests
from slimrank.prompt import SLIMRANK
from tests.onnx_export.test_export import IN_TWO, WITHOUT_SATURATION, ignore
from tests.tiny import MAX_PAIR_TOKENS, make_checkpoint, make_model


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_the_serving_graph_supports_biases_and_head_norms(kind: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", kind)
    found = manifests.check(make_model(checkpoint, tmp_path / "model")).verification
    assert found is not None
    assert found.max_score_difference < 1e-4


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


@WITHOUT_SATURATION
def test_two_steps_are_more_accurate_than_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    off = []
    for in_two in ((), IN_TWO):
        expected, alone, _, _ = in_eight_bits(tiny_checkpoint, tmp_path / "model", in_two)
        off.append(np.sqrt(np.mean((alone - expected) ** 2)))
    assert off[1] < off[0]
