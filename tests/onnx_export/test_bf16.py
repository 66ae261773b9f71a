"""A bf16 graph is well formed, computes in bf16 and scores as fp32 does. It runs in onnx's reference evaluator, as no CPU kernel can run it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_attention import Attention_23
from typer.testing import CliRunner

from onnx_export import checkpoint as checkpoints
from onnx_export.export import export
from onnx_export.pairs import PairGroup
from onnx_export.reference import TokenGroup, reference_scores
from onnx_export.verify import verify
from slimrank import graph_io
from slimrank.__main__ import app
from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK
from slimrank.scoring import scores_from_logits
from tests.tiny import MAX_PAIR_TOKENS, make_checkpoint


class RotaryEmbedding(OpRun):
    """ONNX Runtime's operator; all rows begin at one position."""

    op_domain = "com.microsoft"

    def _run(self, x: Any, first: Any, cos: Any, sin: Any, *, num_heads: int, **_: Any) -> tuple[Any]:
        batch, length, _ = x.shape
        halves = np.split(x.reshape(batch, length, num_heads, -1), 2, axis=-1)
        turn = [table[int(first[0]) : int(first[0]) + length][None, :, None] for table in (cos, sin)]
        turned = halves[0] * turn[0] - halves[1] * turn[1], halves[1] * turn[0] + halves[0] * turn[1]
        return (np.concatenate(turned, axis=-1).reshape(x.shape),)


class QuickGelu(OpRun):
    """ONNX Runtime's operator."""

    op_domain = "com.microsoft"

    def _run(self, x: Any, *, alpha: float) -> tuple[Any]:
        wide = x.astype(np.float32)
        return ((wide / (1 + np.exp(-alpha * wide))).astype(x.dtype),)


class Attention(Attention_23):  # type: ignore[misc]
    """Attention with sums and softmax in float32, as in kernels; onnx's own evaluator rounds each step."""

    op_domain = ""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        wide = [value if value is None else value.astype(np.float32) for value in inputs]
        found = super()._run(*wide, **attributes)
        return tuple(value.astype(inputs[0].dtype) for value in found)


class RMSNormalization(OpRun):
    """The standard's operator with sums in float32; onnx's own evaluator sums in the type of x."""

    op_domain = ""

    def _run(self, x: Any, scale: Any, *, axis: int, epsilon: float, stash_type: int) -> tuple[Any]:
        wide = x.astype(np.float32) if stash_type == TensorProto.FLOAT else x
        normed = wide / np.sqrt(np.mean(wide**2, axis=axis, keepdims=True) + epsilon)
        return (normed.astype(x.dtype) * scale,)


OPERATORS: list[type[OpRun]] = [Attention, QuickGelu, RMSNormalization, RotaryEmbedding]


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "checkpoint", request.param)


def test_its_scores_are_as_close_to_the_checkpoints_as_torchs_in_bf16(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(checkpoint, tmp_path / "model", lambda *_: None, precision="bf16", max_pair_tokens=MAX_PAIR_TOKENS)
    graph = tmp_path / "model" / "model.onnx"
    onnx.checker.check_model(str(graph), full_check=True)
    evaluator = ReferenceEvaluator(str(graph), new_ops=OPERATORS)
    opened = graph_io.open_graph(evaluator.input_names, manifest.architecture, evaluator.run)
    loaded = checkpoints.load(checkpoint)
    encoder = loaded.encoder(SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, max_query_tokens=MAX_PAIR_TOKENS // 2)
    chance = np.random.default_rng(5)
    prefix, *rows = (chance.integers(250, size=length).tolist() for length in (6, 4, 9, 9, 14, 20, 20, 24, 28))
    group = TokenGroup(prefix, rows, PairGroup("the ids were drawn", []))

    shared = opened.share(prefix)
    found = scores_from_logits(opened.logits(rows, shared))

    assert isinstance(shared, np.ndarray)
    assert shared.dtype == np.float32, "numpy knows no bf16, so none leaves the graph"
    expected = reference_scores(loaded, encoder, group)
    loaded.model.to(torch.bfloat16)
    off, torchs = (np.sqrt(np.mean((one - expected) ** 2)) for one in (found, reference_scores(loaded, encoder, group)))
    assert 1e-3 < off < 2 * torchs, "eight bits are few: a row or two decide"


def test_all_is_bf16_except_the_head_the_inputs_and_the_outputs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export(tiny_checkpoint, tmp_path / "model", lambda *_: None, precision="bf16", max_pair_tokens=MAX_PAIR_TOKENS)
    graph = onnx.load(str(tmp_path / "model" / "model.onnx")).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {name for name, kind in types.items() if kind == TensorProto.FLOAT} == {"head", "head_bias"}
    assert {kind for name, kind in types.items() if name.endswith(".weight")} == {TensorProto.BFLOAT16}
    norms = [node for node in graph.node if "Norm" in node.op_type]
    assert {node.op_type for node in norms} == {"RMSNormalization"}
    stashed = {attribute.i for node in norms for attribute in node.attribute if attribute.name == "stash_type"}
    assert stashed == {TensorProto.FLOAT}, "norms sum in float32"
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.INT64)


def test_bf16_is_refused_without_a_gpu_with_a_message(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["export", str(tiny_checkpoint), "--out", str(tmp_path / "model"), "--precision", "bf16"]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, ConfigError)
    assert "bf16 was asked for on provider cpu, which runs fp32, int8" in str(refused.exception)
    assert not (tmp_path / "model").exists()
    both = CliRunner().invoke(app, [*arguments[:-1], "auto", "--record", "--provider", "cuda"])
    assert "leave one of the two out" in str(both.exception)
    assert CliRunner().invoke(app, [*arguments, "--no-verify"]).exit_code == 0
    with pytest.raises(ConfigError, match="set SLIMRANK_PROVIDER to cuda or tensorrt"):
        verify(tmp_path / "model", lambda *_: None)
