"""Run a session by I/O binding, so that what is used again stays on the device. Only the fused graph.

Keys and values of a prefix come out as ``OnDevice`` and go back in as that, without a way through the
host's memory. With CUDA graphs the work for each shape is recorded once and played back: what goes
in and comes out must then lie at fixed addresses, so each shape has its own buffers, and one run goes
at a time. On a CPU all of it works but the recording, which is how it is tested; it never ran on a GPU.

https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html,
https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html (enable_cuda_graph, gpu_graph_id)
"""

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from slimrank import graph_io
from slimrank.graph_io import Feed

MOST_GRAPHS = 64
"""Shapes that are recorded; each holds memory of the device. Others run unrecorded."""
GRAPH_ID = "gpu_graph_id"
UNRECORDED = "-1"
ANSWERS = 2
BYTES_A_NUMBER = 4
"""Keys and values come and go in float32."""


@dataclass(frozen=True, slots=True)
class OnDevice:
    """Keys and values that a run left on the device."""

    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Layers twice, key and value heads, tokens, head size."""
        return tuple(self.value.shape())

    @property
    def nbytes(self) -> int:
        """The memory they hold, bytes."""
        return BYTES_A_NUMBER * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The inputs and outputs of one recorded shape, at addresses that do not change."""

    binding: Any
    inputs: dict[str, Any]
    logits: Any
    options: ort.RunOptions
    shared: OnDevice
    """Held, so that no other keys and values get its address."""


class DeviceRun:
    """Runs the fused graph of an open session; called as ``graph_io.Run``.

    Args:
        device: Where keys and values stay: cpu or cuda.
        records: Record a CUDA graph for each shape of a batch; the session's provider must have it enabled.
    """

    def __init__(self, session: ort.InferenceSession, device: str, *, records: bool = False) -> None:
        self._session = session
        self.device = device
        self.records = records
        self._shapes: dict[tuple[tuple[int, ...], int], _Shape] = {}
        self._lock = threading.Lock()

    def __call__(self, outputs: list[str], feed: Feed) -> list[Any]:
        """Return logits as an array, keys and values where they are."""
        options = ort.RunOptions()
        if not self.records:
            return self._bound(outputs, feed, options)
        with self._lock:
            shared = feed[graph_io.PREFIX]
            key = feed[graph_io.INPUT_IDS].shape, id(shared)
            has_room = key in self._shapes or len(self._shapes) < MOST_GRAPHS
            # A prefix is run once and at any length: not worth a recording.
            if outputs == [graph_io.LOGITS] and isinstance(shared, OnDevice) and has_room:
                return [self._played(key, feed, shared)]
            options.add_run_config_entry(GRAPH_ID, UNRECORDED)
            return self._bound(outputs, feed, options)

    def _bound(self, outputs: list[str], feed: Feed, options: ort.RunOptions) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in feed.items():
            _bind(binding, name, value)
        for name in outputs:
            binding.bind_output(name, self.device if name == graph_io.KEYS_VALUES else "cpu")
        self._session.run_with_iobinding(binding, options)
        found = zip(outputs, binding.get_outputs(), strict=True)
        return [OnDevice(value) if name == graph_io.KEYS_VALUES else value.numpy() for name, value in found]

    def _played(self, key: tuple[tuple[int, ...], int], feed: Feed, shared: OnDevice) -> npt.NDArray[np.float32]:
        if key in self._shapes:
            shape = self._shapes[key]
            for name, value in shape.inputs.items():
                value.update_inplace(feed[name])
        else:
            shape = self._shapes[key] = self._placed(feed, shared)
        self._session.run_with_iobinding(shape.binding, shape.options)
        logits: npt.NDArray[np.float32] = shape.logits.numpy().copy()
        return logits

    def _placed(self, feed: Feed, shared: OnDevice) -> _Shape:
        """Return buffers for a shape that was not met before, filled."""
        binding, options = self._session.io_binding(), ort.RunOptions()
        options.add_run_config_entry(GRAPH_ID, str(len(self._shapes) + 1))  # 0 is ONNX Runtime's own
        names = [name for name in feed if name not in (graph_io.PREFIX, graph_io.KEEP)]
        # A copy: on a CPU the value would lie on the caller's array, which is another at every call.
        inputs = {name: ort.OrtValue.ortvalue_from_numpy(feed[name].copy(), self.device, 0) for name in names}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        _bind(binding, graph_io.PREFIX, shared)
        _bind(binding, graph_io.KEEP, feed[graph_io.KEEP])  # read on the host, and always 0 here
        rows = len(feed[graph_io.INPUT_IDS])
        logits = ort.OrtValue.ortvalue_from_shape_and_type([rows, ANSWERS], np.float32, self.device, 0)
        binding.bind_ortvalue_output(graph_io.LOGITS, logits)
        return _Shape(binding, inputs, logits, options, shared)


def _bind(binding: Any, name: str, value: Any) -> None:
    if isinstance(value, OnDevice):
        binding.bind_ortvalue_input(name, value.value)
    else:
        binding.bind_cpu_input(name, value)
