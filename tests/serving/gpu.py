"""The engine on a GPU beside transformers, in one call: ``python -m tests.serving.gpu``. Never run on a GPU yet.

Models of the Qwen2.5-0.5B and 1.5B shapes with random weights, which is enough for speed; pairs of at most 512 tokens with
lengths as in a BEIR collection (``--data``, four characters a token) or about 150 tokens. Published for these shapes on an
H100: 809 and 387 pairs/s; the aim is three times that.

Our graph is converted to fp16 (inputs and outputs stay float32), opened on the provider, and fed by I/O binding: the prefix's
keys and values are sent once a request, not once a batch. With ``--cuda-graphs`` lengths are rounded up, so that shapes
repeat, and what goes in and comes out of a shape stays at fixed addresses, as CUDA graphs need. The tests run all of it but CUDA itself: ``--provider cpu --shapes tiny``.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import Qwen2Config, Qwen2ForCausalLM

from onnx_export.fused import write_graph
from slimrank import graph_io
from slimrank.beir import read_collection
from slimrank.manifest import Architecture
from slimrank.serving import providers
from slimrank.serving.batching import token_budget_batches

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 300},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151_936},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151_936},
}  # fmt: skip
PUBLISHED = {"0.5b": 809.0, "1.5b": 387.0}
ANSWERS = (15, 16)
MAX_PAIR_TOKENS = 512
PREFIX_TOKENS = 40
BUCKET = 64
"""With CUDA graphs, lengths are rounded up to multiples of this: as many graphs are captured."""

Rows = list[list[int]]


def model_of(shape: str) -> Any:
    """Return a Qwen2 of that shape with random weights."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(**SHAPES[shape], max_position_embeddings=MAX_PAIR_TOKENS, tie_word_embeddings=True)
    ).eval()


def exported(model: Any, folder: Path) -> Path:
    """Write the serving graph in fp16, its inputs and outputs in float32."""
    whole, half = folder / "fp32.onnx", folder / "fp16.onnx"
    write_graph(model, ANSWERS, whole, precision="fp32", max_pair_tokens=MAX_PAIR_TOKENS)
    converted = convert_float_to_float16(onnx.load(str(whole)), keep_io_types=True, disable_shape_infer=True)
    onnx.save(converted, str(half), save_as_external_data=True, location="fp16.data")
    return half


class BoundGraph:
    """A session fed by I/O binding: the prefix stays on the device for a whole request.

    Args:
        provider: cpu, cuda or tensorrt.
        cuda_graphs: Capture a graph for each shape of a batch.
    """

    def __init__(self, graph: Path, architecture: Architecture, *, provider: str, cuda_graphs: bool) -> None:
        wanted = providers.chosen(provider, ort.get_available_providers())
        if cuda_graphs and provider == "cuda":
            wanted[0] = (wanted[0][0], wanted[0][1] | {"enable_cuda_graph": "1"})
        providers.preload(provider, getattr(ort, "preload_dlls", None))
        self._session = ort.InferenceSession(str(graph), providers=wanted)
        providers.check_in_use(provider, self._session.get_providers())
        self._device = "cpu" if provider == "cpu" else "cuda"
        self._fixed = cuda_graphs
        self._buffers: dict[tuple[str, tuple[int, ...]], Any] = {}
        self._captured: dict[tuple[tuple[int, ...], ...], int] = {}
        self._graph = graph_io.FusedGraph(architecture, self._run)

    def scores(self, prefix: list[int], rows: Rows, *, batch_tokens: int) -> list[float]:
        """Return a score for each row after the prefix."""
        shared = self._graph.share(prefix)
        found = [0.0] * len(rows)
        for batch in token_budget_batches([len(row) for row in rows], batch_tokens):
            logits = self._graph.logits([self._padded(rows[i]) for i in batch], shared)
            for i, pair in zip(batch, logits, strict=True):
                found[i] = float(pair[1] - pair[0])
        return found

    def _padded(self, row: list[int]) -> list[int]:
        """Return the row, filled in front up to a whole bucket where shapes must repeat; only speed is asked of it."""
        return [0] * (-len(row) % BUCKET) + row if self._fixed else row

    def _run(self, outputs: list[str], feed: graph_io.Feed) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, self._on_device(name, value))
        options = ort.RunOptions()
        if self._fixed:
            captures = outputs == [graph_io.LOGITS]  # the prefix is run once a request: not worth a graph
            shape = tuple(value.shape for value in feed.values())
            options.add_run_config_entry(
                "gpu_graph_id", str(self._captured.setdefault(shape, len(self._captured) + 1) if captures else -1)
            )
        for name in outputs:
            if self._fixed and name == graph_io.LOGITS:
                binding.bind_ortvalue_output(
                    name, self._on_device(name, np.zeros((len(feed[graph_io.INPUT_IDS]), 2), np.float32))
                )
            else:
                binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding, options)
        return [value.numpy() for value in binding.get_outputs()]

    def _on_device(self, name: str, value: Any) -> Any:
        """Return the value on the device; the same object is sent once, and buffers are used again."""
        key = name, value.shape
        held = self._buffers.get(key)
        if held is None:
            self._buffers[key] = held = (ort.OrtValue.ortvalue_from_numpy(value, self._device, 0), value)
        elif held[1] is not value:
            held[0].update_inplace(np.ascontiguousarray(value))
            self._buffers[key] = held = (held[0], value)
        return held[0]


def peer(model: Any, device: str) -> Callable[[list[int], Rows], list[float]]:
    """Return transformers in half precision, batches of 128 sorted by length, the head at the last slot only."""
    model = model.to(device, torch.bfloat16 if device == "cpu" else torch.float16)

    def score(prefix: list[int], rows: Rows) -> list[float]:
        order, found = sorted(range(len(rows)), key=lambda i: -len(rows[i])), [0.0] * len(rows)
        for start in range(0, len(order), 128):
            batch = order[start : start + 128]
            longest = len(prefix) + len(rows[batch[0]])
            pairs = [[0] * (longest - len(prefix) - len(rows[i])) + prefix + rows[i] for i in batch]
            mask = [[0] * (longest - len(prefix) - len(rows[i])) + [1] * (len(prefix) + len(rows[i])) for i in batch]
            with torch.inference_mode():
                ids, seen = torch.tensor(pairs, device=device), torch.tensor(mask, device=device)
                logits = model(input_ids=ids, attention_mask=seen, logits_to_keep=1, use_cache=False).logits[:, -1].float().cpu()
            for i, row in zip(batch, logits, strict=True):
                found[i] = float(row[ANSWERS[1]] - row[ANSWERS[0]])
        return found

    return score


def measured(shape: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return pairs a second of our engine and of transformers, interleaved, the best of the rounds."""
    chance, model = random.Random(0), model_of(shape)
    words = SHAPES[shape]["vocab_size"]
    prefix = [chance.randrange(words) for _ in range(PREFIX_TOKENS)]
    rows = [[chance.randrange(words) for _ in range(length)] for length in lengths(args.data, args.pairs, chance)]
    config = SHAPES[shape]
    size = config["hidden_size"] // config["num_attention_heads"]
    architecture = Architecture(layers=config["num_hidden_layers"], key_value_heads=config["num_key_value_heads"], head_size=size)
    with tempfile.TemporaryDirectory() as work:
        graph = BoundGraph(exported(model, Path(work)), architecture, provider=args.provider, cuda_graphs=args.cuda_graphs)
        theirs = peer(model, "cpu" if args.provider == "cpu" else "cuda")
        ways = {
            "ours": lambda: graph.scores(prefix, rows, batch_tokens=args.batch_tokens),
            "transformers": lambda: theirs(prefix, rows),
        }
        scores = {name: way() for name, way in ways.items()}  # warms up, and captures graphs
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in range(args.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    speed = {f"{name}_pairs_per_second": len(rows) / taken for name, taken in seconds.items()}
    against = {"times_published": speed["ours_pairs_per_second"] / PUBLISHED[shape]} if shape in PUBLISHED else {}
    worst = float(np.abs(np.subtract(scores["ours"], scores["transformers"])).max())
    return speed | against | {"times_transformers": seconds["transformers"] / seconds["ours"], "largest_difference": worst}


def lengths(data: Path | None, count: int, chance: random.Random) -> list[int]:
    """Return what follows the prefix, in tokens."""
    room = MAX_PAIR_TOKENS - PREFIX_TOKENS
    if data is None:
        return [min(room, max(8, round(chance.lognormvariate(4.9, 0.45)))) for _ in range(count)]
    texts = [document.content for document in read_collection(data, "test").documents.values()]
    return [min(room, max(8, len(chance.choice(texts)) // 4)) for _ in range(count)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the shapes and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", default="cuda", choices=list(providers.NAMES))
    parser.add_argument("--shapes", nargs="+", default=["0.5b", "1.5b"], choices=list(SHAPES))
    parser.add_argument("--data", type=Path, help="BEIR folder whose documents' lengths are taken, such as Natural Questions.")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--cuda-graphs", action="store_true")
    args = parser.parse_args(arguments)
    print(json.dumps({shape: measured(shape, args) for shape in args.shapes}))


if __name__ == "__main__":
    main()
