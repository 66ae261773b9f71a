"""Write the serving graph, which computes only what a score needs: fp32 or int8 for CPUs; fp16, bf16 or int8-gpu for GPUs.

Optimum's graph is general: it gives logits at every position, returns keys and values that nobody reads, and
needs a copy of the shared prefix for every row. This graph is written node by node from a checkpoint's
weights, for the Llama family (Llama, Mistral, Qwen2, Qwen3):

* the prefix's keys and values are given once, at batch 1, and are broadcast inside, layer by layer;
* after the last attention only the answer slots are computed;
* keys and values are returned only if ``keep`` asks for them, when the prefix itself is run;
* norm + skip, rotary, SiLU and attention are single kernels of ONNX Runtime;
* attention goes chunk by chunk, so that most masked positions are never computed (a GPU's own kernel skips them itself).

int8: weights have one scale a column. Activations have one scale a *row*, taken from that row alone,
so that a score does not depend on the other rows of its batch or on padding; plain dynamic quantisation takes one
scale a batch. The row's scale is applied after the product, in float32.

fp16, bf16: all is in this type but the head's two rows, the sums of the norms, the inputs and the outputs: these are float32.
ONNX Runtime's skip norm for CUDA sums in the type of its inputs, which is too narrow, so add and norm are two nodes on a GPU.

int8-gpu: weights in 8 bits with one scale for every ``BLOCK`` of a column, activations in fp16. CUDA's product of integers
applies no scales, and separate passes for them would cost more time than the product saves (docs/log/export.md).

The inputs and outputs are described in ``slimrank.graph_io``. Optimum's graph is used
for other architectures, and as a second graph to compare with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from slimrank.graph_io import (
    ANSWER_SLOTS,
    FIRST_POSITION,
    FOR_GPU,
    INPUT_IDS,
    KEEP,
    KEYS_VALUES,
    LEAST_LENGTH,
    LOGITS,
    PREFIX,
    SHAPE_STEP,
)

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
OPSET = 23
IR_VERSION = 11
CHUNKS = LEAST_LENGTH
"""Each chunk has a fixed cost, so that more chunks only pay for documents longer than most (docs/log/engine.md)."""
MICROSOFT = "com.microsoft"
BLOCK = 32
"""Rows of a weight that share a scale; all of ONNX Runtime's kernels for 8 bits support this number."""
LEAST_SCALE = 1e-6
"""The smallest scale; a smaller number could become 0 in fp16."""

FusedPrecision = Literal["fp32", "fp16", "bf16", "int8", "int8-gpu"]
FUSED_PRECISIONS: tuple[FusedPrecision, ...] = get_args(FusedPrecision)
VALUES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8-gpu": TensorProto.FLOAT16}
"""The type of values within the graph, if it is not float32."""
Array = npt.NDArray[Any]


def can_fuse(config: Any) -> bool:
    """Return whether the serving graph can be written for this model."""
    return (
        config.model_type in FAMILIES
        and getattr(config, "hidden_act", None) == "silu"
        and not getattr(config, "mlp_bias", False)
        and not getattr(config, "use_sliding_window", False)
        and (config.model_type != "mistral" or getattr(config, "sliding_window", None) is None)
    )


def write_graph(
    model: Any,
    answer_ids: Sequence[int],
    path: Path,
    *,
    precision: FusedPrecision,
    max_pair_tokens: int,
    in_float: Sequence[str] = (),
    in_two: Sequence[str] = (),
) -> None:
    """Write the serving graph of a loaded checkpoint.

    Args:
        model: A transformers model of one of ``FAMILIES`` with its full head.
        answer_ids: Irrelevant, relevant.
        max_pair_tokens: The number of positions of the graph.
        in_float: Names of products that int8 leaves in float32, such as "down_proj" or "layers.2.mlp.down_proj".
        in_two: Names of products whose activations int8 takes in two steps, the value and its rounding error: nearly exact, at
            twice the cost.
    """
    graph = _Builder(model, precision, in_float, in_two).build(list(answer_ids), max_pair_tokens)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)], ir_version=IR_VERSION
    )
    large = sum(len(tensor.raw_data) for tensor in graph.initializer) > 1900 * 2**20
    onnx.save(made, str(path), save_as_external_data=large, location=path.name + ".data")


class _Builder:
    """Collects nodes and weights; each method adds one part of the graph and returns the name of its output.

    Values between parts are (T, width) with T = B x L; only attention reads (B, L, width).
    """

    def __init__(self, model: Any, precision: FusedPrecision, in_float: Sequence[str], in_two: Sequence[str]) -> None:
        self._config = model.config
        self._weights = {name: tensor.detach().float().numpy() for name, tensor in model.named_parameters()}
        self._head = model.get_output_embeddings()
        self._rotary = model.model.rotary_emb
        self._int8 = precision == "int8"
        self._blocks = precision == "int8-gpu"
        self._for_gpu = precision in FOR_GPU
        self._type = VALUES.get(precision, TensorProto.FLOAT)
        self._numpy_type = helper.tensor_dtype_to_np_dtype(self._type)
        self._chunks = 1 if self._for_gpu else CHUNKS
        self._in_float = in_float
        self._in_two = in_two
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._names: set[str] = set()
        self._quantised: dict[str, tuple[str, str]] = {}
        self._heads = self._config.num_attention_heads
        self._kv_heads = getattr(self._config, "num_key_value_heads", None) or self._heads
        self._head_size = getattr(self._config, "head_dim", None) or self._config.hidden_size // self._heads

    def build(self, answer_ids: list[int], max_pair_tokens: int) -> onnx.GraphProto:
        layers = self._config.num_hidden_layers
        self._shared(max_pair_tokens)
        residual = self._embed()
        normed = self._norm(residual, "layers.0.input_layernorm")
        kept = []
        for layer in range(layers):
            attended, keys, values = self._attention(normed, layer)
            kept += [keys, values]
            if layer == layers - 1:  # from here on only the answer slots are needed
                attended = self._node("Gather", [attended, ANSWER_SLOTS], axis=0)
                residual = self._node("Gather", [residual, ANSWER_SLOTS], axis=0)
            update = self._linear(attended, f"layers.{layer}.self_attn.o_proj")
            normed, residual = self._skip_norm(update, residual, f"layers.{layer}.post_attention_layernorm")
            update = self._mlp(normed, layer)
            following = f"layers.{layer + 1}.input_layernorm" if layer + 1 < layers else "norm"
            normed, residual = self._skip_norm(update, residual, following)
        self._answer(normed, answer_ids)
        if self._for_gpu:
            self._node("Cast", [self._node("Concat", kept, axis=0)], to=TensorProto.FLOAT, output=KEYS_VALUES)
        else:
            self._node("Concat", kept, axis=0, output=KEYS_VALUES)
        return helper.make_graph(self._nodes, "slimrank", self._inputs(), self._outputs(), self._initializers)

    def _inputs(self) -> list[onnx.ValueInfoProto]:
        cache = [2 * self._config.num_hidden_layers, self._kv_heads, "P", self._head_size]
        return [
            helper.make_tensor_value_info(INPUT_IDS, TensorProto.INT64, ["B", "L"]),
            helper.make_tensor_value_info(PREFIX, TensorProto.FLOAT, cache),
            helper.make_tensor_value_info(ANSWER_SLOTS, TensorProto.INT64, ["B"]),
            helper.make_tensor_value_info(KEEP, TensorProto.INT64, [1]),
            *([helper.make_tensor_value_info(FIRST_POSITION, TensorProto.INT64, [1])] if self._for_gpu else []),
        ]

    def _outputs(self) -> list[onnx.ValueInfoProto]:
        cache = [2 * self._config.num_hidden_layers, self._kv_heads, "K", self._head_size]
        return [
            helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["B", 2]),
            helper.make_tensor_value_info(KEYS_VALUES, TensorProto.FLOAT, cache),
        ]

    def _shared(self, max_pair_tokens: int) -> None:
        """Add the constants and nodes that every layer uses: shapes, the rotary table and the prefix's length."""
        frequencies = self._rotary.inv_freq.float().cpu().numpy()
        positions = max_pair_tokens + (SHAPE_STEP if self._for_gpu else 0)
        angles = np.outer(np.arange(positions), frequencies)
        scaling = float(getattr(self._rotary, "attention_scaling", 1.0))
        self._constant("cos", (np.cos(angles) * scaling).astype(np.float32))
        self._constant("sin", (np.sin(angles) * scaling).astype(np.float32))
        for name, value in (("zero", [0]), ("one", [1]), ("two", [2]), ("minus_one", [-1])):
            self._constant(name, np.array(value, dtype=np.int64))
        self._constant("width_of_all", np.array([-1, self._heads * self._head_size], dtype=np.int64))
        self._constant("split_sizes", np.ones(2 * self._config.num_hidden_layers, dtype=np.int64))
        batch_and_length = self._node("Shape", [INPUT_IDS], output="batch_and_length")
        batch = self._node("Slice", [batch_and_length, "zero", "one"])
        self._node("Concat", [batch, "one", "one", "one"], axis=0, output="times_batch")
        length = self._node("Slice", ["batch_and_length", "one", "two"])
        quarter = self._node("Div", [length, self._constant("chunks", np.array([self._chunks], dtype=np.int64))])
        others = self._node("Mul", [quarter, self._constant("other_chunks", np.array([self._chunks - 1], dtype=np.int64))])
        last = self._node("Sub", [length, others])
        self._node("Concat", [*[quarter] * (self._chunks - 1), last], axis=0, output="chunk_sizes")
        self._first_position = FIRST_POSITION if self._for_gpu else self._node("Shape", [PREFIX], start=2, end=3)
        parts = [f"prefix_{i}" for i in range(2 * self._config.num_hidden_layers)]
        prefix = self._node("Cast", [PREFIX], to=self._type) if self._for_gpu else PREFIX
        self._nodes.append(helper.make_node("Split", [prefix, "split_sizes"], parts, axis=0))
        if self._int8:
            self._constant("tiny", np.array(1e-12, dtype=np.float32))
            self._constant("per_127", np.array(1 / 127, dtype=np.float32))
            self._constant("per_254", np.array(1 / 254, dtype=np.float32))
            self._constant("unit", np.array(1, dtype=np.float32))
            self._constant("middle", np.array(128, dtype=np.uint8))
            self._constant("middle_of_weights", np.array(0, dtype=np.int8))

    def _embed(self) -> str:
        ids = self._node("Reshape", [INPUT_IDS, "minus_one"])
        table = self._weights["model.embed_tokens.weight"]
        if not self._int8:
            return self._node("Gather", [self._constant("embedding", table), ids], axis=0)
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
        rows = self._constant("embedding", np.rint(table / scales).astype(np.int8))
        whole = self._node("Cast", [self._node("Gather", [rows, ids], axis=0)], to=TensorProto.FLOAT)
        return self._node("Mul", [whole, self._node("Gather", [self._constant("embedding_scale", scales), ids], axis=0)])

    def _attention(self, x: str, layer: int) -> tuple[str, str, str]:
        """Add one attention; return its output (T, heads x head_size), and the kept keys and values."""
        at = f"layers.{layer}.self_attn"
        query = self._rotated(self._linear(x, f"{at}.q_proj"), self._heads, f"{at}.q_norm")
        key = self._rotated(self._linear(x, f"{at}.k_proj"), self._kv_heads, f"{at}.k_norm")
        value = self._in_rows(self._linear(x, f"{at}.v_proj"), self._kv_heads)
        names = [f"attention_{layer}", f"keys_{layer}", f"values_{layer}"]
        self._causal(layer, query, key, value, names)
        kept = [self._node("Slice", [name, "zero", KEEP, "two"]) for name in names[1:]]
        kept = [self._node("Slice", [name, "zero", "one", "zero"]) for name in kept]
        return self._node("Reshape", [names[0], "width_of_all"]), kept[0], kept[1]

    def _causal(self, layer: int, query: str, key: str, value: str, outputs: list[str]) -> None:
        """Compute attention chunk by chunk; a chunk reads only the tokens up to its end, so that later ones are not computed.

        Args:
            outputs: Names of the attention (B, L, heads x head_size) and of all keys and values.
        """
        pieces = []
        for name, whole in zip("qkv", (query, key, value), strict=True):
            pieces.append([f"{name}_{layer}_{chunk}" for chunk in range(self._chunks)])
            self._nodes.append(helper.make_node("Split", [whole, "chunk_sizes"], pieces[-1], axis=1))
        past = [self._node("Expand", [f"prefix_{2 * layer + part}", "times_batch"]) for part in (0, 1)]
        attended = [f"attention_{layer}_{chunk}" for chunk in range(self._chunks)]
        for chunk, (inputs, output) in enumerate(zip(zip(*pieces, strict=True), attended, strict=True)):
            is_last = chunk == self._chunks - 1
            present = outputs[1:] if is_last else [f"{name}_{chunk}" for name in outputs[1:]]
            self._nodes.append(
                helper.make_node(
                    "Attention", [*inputs, "", *past], [output, *present], is_causal=1, q_num_heads=self._heads,
                    kv_num_heads=self._kv_heads, scale=self._head_size**-0.5,
                )
            )  # fmt: skip
            past = present
        self._node("Concat", attended, axis=1, output=outputs[0])

    def _in_rows(self, x: str, heads: int) -> str:
        """Return (B, L, heads x head_size) from (T, heads x head_size)."""
        width = self._constant(f"width_{heads}", np.array([heads * self._head_size], dtype=np.int64))
        shape = f"rows_{heads}"
        if shape not in self._names:
            self._names.add(shape)
            self._node("Concat", ["batch_and_length", width], axis=0, output=shape)
        return self._node("Reshape", [x, shape])

    def _rotated(self, x: str, heads: int, norm: str) -> str:
        rows = self._in_rows(x, heads)
        if f"model.{norm}.weight" in self._weights:  # Qwen3 norms each head
            split = self._constant(f"heads_{heads}", np.array([0, 0, heads, self._head_size], dtype=np.int64))
            rows = self._in_rows(self._norm(self._node("Reshape", [rows, split]), norm), heads)
        return self._node("RotaryEmbedding", [rows, self._first_position, "cos", "sin"], domain=MICROSOFT, num_heads=heads,
                          rotary_embedding_dim=0, interleaved=0)  # fmt: skip

    def _mlp(self, x: str, layer: int) -> str:
        gate = self._linear(x, f"layers.{layer}.mlp.gate_proj")
        gate = self._node("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0)  # SiLU
        return self._linear(
            self._node("Mul", [gate, self._linear(x, f"layers.{layer}.mlp.up_proj")]), f"layers.{layer}.mlp.down_proj"
        )

    def _skip_norm(self, update: str, residual: str, name: str) -> tuple[str, str]:
        """Return norm(update + residual) and update + residual."""
        if self._for_gpu:
            total = self._node("Add", [update, residual])
            return self._norm(total, name), total
        outputs = [f"normed_{len(self._nodes)}", "", "", f"sum_{len(self._nodes)}"]
        inputs = [update, residual, self._norm_weight(name)]
        self._nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization", inputs, outputs, domain=MICROSOFT, epsilon=self._config.rms_norm_eps
            )
        )
        return outputs[0], outputs[3]

    def _norm(self, x: str, name: str) -> str:
        weight = self._norm_weight(name)
        if self._for_gpu:  # the operator of the ONNX standard can sum in float32
            kind, stash = "RMSNormalization", {"stash_type": int(TensorProto.FLOAT)}
        else:
            kind, stash = "SimplifiedLayerNormalization", {}
        attributes: dict[str, Any] = {"axis": -1, "epsilon": self._config.rms_norm_eps} | stash
        return self._node(kind, [x, weight], **attributes)

    def _answer(self, x: str, answer_ids: list[int]) -> None:
        """Add the head's two rows, always in float32."""
        weight = self._head.weight.detach().float().numpy()[answer_ids].T
        x = self._node("Cast", [x], to=TensorProto.FLOAT) if self._for_gpu else x
        logits = self._node("MatMul", [x, self._constant("head", np.ascontiguousarray(weight), exact=True)])
        bias = np.zeros(2, dtype=np.float32) if self._head.bias is None else self._head.bias.detach().float().numpy()[answer_ids]
        self._node("Add", [logits, self._constant("head_bias", bias, exact=True)], output=LOGITS)

    def _linear(self, x: str, name: str) -> str:
        weight = self._weights[f"model.{name}.weight"].T
        if self._in_8_bits(name):
            product = self._node("Mul", [*self._product_int8(x, weight, name)])
        elif self._blocks:
            product = self._product_of_blocks(x, weight, name)
        else:
            product = self._node("MatMul", [x, self._weight(name, weight)])
        bias = self._weights.get(f"model.{name}.bias")
        return product if bias is None else self._node("Add", [product, self._constant(f"{name}.bias", bias)])

    def _in_8_bits(self, name: str) -> bool:
        return self._int8 and not is_named(name, self._in_float)

    def _product_of_blocks(self, x: str, weight: Array, name: str) -> str:
        rows, columns = weight.shape
        steps, scales = in_blocks(weight)
        inputs = [x, self._weight(name, steps), self._constant(f"{name}.scale", scales)]
        return self._node("MatMulNBits", inputs, domain=MICROSOFT, K=rows, N=columns, bits=8, block_size=BLOCK)

    def _product_int8(self, x: str, weight: Array, name: str) -> tuple[str, str]:
        """Return the product before the rows' scales are applied, and these scales (T, 1)."""
        columns = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12).astype(np.float32)
        whole = self._weight(name, np.rint(weight / columns).astype(np.int8))
        scale = self._constant(f"{name}.scale", columns)

        def times(rows: str, step: str) -> str:
            inputs = [rows, whole, step, scale, "middle", "middle_of_weights"]
            return self._node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)

        rows, row_scale = self._rows_int8(x)
        product = times(rows, "unit")
        if is_named(name, self._in_two):
            product = self._node("Add", [product, times(self._rest_int8(x), "per_254")])
        return product, row_scale

    def _rows_int8(self, x: str) -> tuple[str, str]:
        """Return x in 8 bits around 128, and its scales (T, 1), each taken from the largest value of its row."""
        if x not in self._quantised:
            largest = self._node("ReduceMax", [self._node("Abs", [x]), "minus_one"], keepdims=1)
            scale = self._node("Mul", [self._node("Max", [largest, "tiny"]), "per_127"])
            flat = self._node("Reshape", [scale, "minus_one"])
            middle = self._node("Expand", ["middle", self._node("Shape", [flat])])
            self._quantised[x] = self._node("QuantizeLinear", [x, flat, middle], axis=0), scale
        return self._quantised[x]

    def _rest_int8(self, x: str) -> str:
        """Return the rounding error of ``_rows_int8`` in 8 bits: at most half a step, in steps of 1/254 of the row's scale."""
        rows, scale = self._rows_int8(x)
        flat = self._node("Reshape", [scale, "minus_one"])
        middle = self._node("Expand", ["middle", self._node("Shape", [flat])])
        rest = self._node("Sub", [x, self._node("DequantizeLinear", [rows, flat, middle], axis=0)])
        fine = self._node("Mul", [flat, "per_254"])
        return self._node("QuantizeLinear", [rest, fine, middle], axis=0)

    def _norm_weight(self, name: str) -> str:
        return self._constant(f"{name}.weight", self._weights[f"model.{name}.weight"])

    def _weight(self, name: str, value: Array) -> str:
        return self._constant(f"{name}.weight", np.ascontiguousarray(value))

    def _constant(self, name: str, value: Array, *, exact: bool = False) -> str:
        if name not in self._names:
            self._names.add(name)
            if not exact and value.dtype == np.float32:
                value = value.astype(self._numpy_type)
            self._initializers.append(numpy_helper.from_array(value, name))
        return name

    def _node(self, kind: str, inputs: list[str], *, output: str = "", domain: str = "", **attributes: Any) -> str:
        output = output or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output


def in_blocks(weight: Array) -> tuple[Array, Array]:
    """Return a weight (K, N) as 8 bits around 128 (N, K / BLOCK, BLOCK), and the scale of each block (N, K / BLOCK) in fp16."""
    rows, columns = weight.shape
    blocks = np.pad(weight.T, ((0, 0), (0, -rows % BLOCK))).reshape(columns, -1, BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2) / 127, LEAST_SCALE).astype(np.float16)
    steps = np.clip(np.rint(blocks / scales[..., None].astype(np.float32)), -128, 127) + 128
    return steps.astype(np.uint8), scales


def is_named(name: str, chosen: Sequence[str]) -> bool:
    """Return whether a product, such as ``layers.2.mlp.down_proj``, is chosen by its kind or by its full name."""
    return name in chosen or name.split(".")[-1] in chosen
