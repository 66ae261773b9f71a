"""Change Optimum's graph of a cross-encoder for serving: it computes the token types itself, and quantises by rows.

Token types say which text a token belongs to. The first separator ends the query, so the token types follow from the ids alone.

int8: the products and the word embeddings are quantised, with a scale for each column of a weight and each row of an activation, as in
``onnx_export.fused``. A row is quantised by itself, so that a score does not depend on the other rows of its batch or on padding, as
it does with the usual dynamic quantisation, whose activations share one scale a batch. The other nodes stay in float32.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slimrank.graph_io import INPUT_IDS

TOKEN_TYPES = "token_type_ids"
MICROSOFT = "com.microsoft"
LEAST_ROWS = 256
"""An embedding with fewer rows, such as that of positions, is too small to be worth 8 bits."""
LARGEST_FILE = 1900 * 2**20
"""A protobuf file cannot be larger than 2 GiB; the weights of a larger graph go to a second file."""


def finish(path: Path, *, separator_id: int, in_8_bits: bool) -> None:
    """Rewrite the graph at ``path``.

    Args:
        separator_id: The token that ends the query.
        in_8_bits: Quantise the products and the word embeddings to int8.
    """
    model = onnx.load(str(path))
    _types_within(model.graph, separator_id)
    if in_8_bits:
        _Quantiser(model.graph).run()
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    is_large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST_FILE
    onnx.save(model, str(path), save_as_external_data=is_large, location=path.name + ".data")


def _types_within(graph: onnx.GraphProto, separator_id: int) -> None:
    """If the graph needs token types, compute them inside: 1 after the first separator, else 0."""
    given = [value for value in graph.input if value.name == TOKEN_TYPES]
    if not given:
        return
    graph.input.remove(given[0])
    graph.initializer.append(numpy_helper.from_array(np.array(separator_id, dtype=np.int64), "separator_id"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, dtype=np.int64), "along_tokens"))
    nodes = [
        helper.make_node("Equal", [INPUT_IDS, "separator_id"], ["is_separator"]),
        helper.make_node("Cast", ["is_separator"], ["separators"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["separators", "along_tokens"], ["separators_before"], exclusive=1),
        helper.make_node("Min", ["separators_before", "along_tokens"], [TOKEN_TYPES]),
    ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


class _Quantiser:
    """Replaces a graph's products and word embeddings by nodes in 8 bits."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._rows: dict[str, tuple[str, str]] = {}

    def run(self) -> None:
        for name, value in (("tiny", 1e-12), ("per_127", 1 / 127), ("unit", 1.0)):
            self._constant(name, np.array(value, dtype=np.float32))
        self._constant("minus_one", np.array([-1], dtype=np.int64))
        self._constant("middle", np.array(128, dtype=np.uint8))
        for node in self._graph.node:
            if node.op_type == "MatMul" and self._has_rows(node.input[1]):
                self._product(node)
            elif node.op_type == "Gather" and self._has_rows(node.input[0], LEAST_ROWS):
                self._embedding(node)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(kept)

    def _has_rows(self, name: str, least: int = 1) -> bool:
        tensor = self._weights.get(name)
        return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and tensor.dims[0] >= least

    def _product(self, node: onnx.NodeProto) -> None:
        weight = numpy_helper.to_array(self._weights[node.input[1]])
        columns = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12).astype(np.float32)
        whole = self._constant(f"{node.input[1]}.int8", np.rint(weight / columns).astype(np.int8))
        scale = self._constant(f"{node.input[1]}.scale", columns)
        rows, row_scale = self._in_rows(node.input[0], weight.shape[0])
        # A constant for each weight: to be exact without VNNI, ONNX Runtime widens a weight together with its zero point.
        middle = self._constant(f"{node.input[1]}.middle", np.array(0, dtype=np.int8))
        inputs = [rows, whole, "unit", scale, "middle", middle]
        product = self._node("Mul", [self._node("MatMulIntegerToFloat", inputs, domain=MICROSOFT), row_scale])
        width = self._constant(f"width_{weight.shape[1]}", np.array([weight.shape[1]], dtype=np.int64))
        shape = self._node("Concat", [self._node("Shape", [node.input[0]], start=0, end=-1), width], axis=0)
        self._nodes.append(helper.make_node("Reshape", [product, shape], list(node.output)))

    def _in_rows(self, x: str, width: int) -> tuple[str, str]:
        """Return x (T, width) in 8 bits around 128, and its scales (T, 1), each taken from the largest value of its row."""
        if x not in self._rows:
            flat = self._node("Reshape", [x, self._constant(f"rows_{width}", np.array([-1, width], dtype=np.int64))])
            largest = self._node("ReduceMax", [self._node("Abs", [flat]), "minus_one"], keepdims=1)
            scale = self._node("Mul", [self._node("Max", [largest, "tiny"]), "per_127"])
            steps = self._node("Reshape", [scale, "minus_one"])
            middle = self._node("Expand", ["middle", self._node("Shape", [steps])])
            self._rows[x] = self._node("QuantizeLinear", [flat, steps, middle], axis=0), scale
        return self._rows[x]

    def _embedding(self, node: onnx.NodeProto) -> None:
        table, ids = numpy_helper.to_array(self._weights[node.input[0]]), node.input[1]
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
        rows = self._constant(f"{node.input[0]}.int8", np.rint(table / scales).astype(np.int8))
        whole = self._node("Cast", [self._node("Gather", [rows, ids], axis=0)], to=TensorProto.FLOAT)
        scale = self._node("Gather", [self._constant(f"{node.input[0]}.scale", scales), ids], axis=0)
        self._nodes.append(helper.make_node("Mul", [whole, scale], list(node.output)))

    def _constant(self, name: str, value: Any) -> str:
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(value, name)
            self._graph.initializer.append(self._weights[name])
        return name

    def _node(self, kind: str, inputs: list[str], *, domain: str = "", **attributes: Any) -> str:
        output = f"{kind}_of_8_bits_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output
