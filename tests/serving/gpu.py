"""The engine on a GPU beside transformers, in one call: ``python -m tests.serving.gpu``. Never run on a GPU yet.

Models of the Qwen2.5-0.5B and 1.5B shapes with random weights, which is enough for speed; pairs of at most 512 tokens with
lengths as in a BEIR collection (``--data``, four characters a token) or about 150 tokens. Published for these shapes on an
H100: 809 and 387 pairs/s; the aim is three times that.

What is measured is what serves: the graphs of ``slimrank export --precision fp16``, ``bf16`` and ``int8-gpu``, opened as a
worker opens them and run by I/O binding (``slimrank.serving.device``), in three ways: each pair whole, the prefix shared, and
with CUDA graphs, for which shapes repeat. The tests run all of it but CUDA itself and bf16, which a CPU cannot:
``--provider cpu --shapes tiny --precisions fp16 int8-gpu``.
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
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from onnx_export.fused import FusedPrecision, write_graph
from slimrank import graph_io, providers
from slimrank.beir import read_collection
from slimrank.manifest import Architecture
from slimrank.serving.batching import repeating_batches, token_budget_batches
from slimrank.serving.device import DeviceRun
from slimrank.serving.session import open_session

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
Rows = list[list[int]]


def model_of(shape: str) -> Any:
    """Return a Qwen2 of that shape with random weights."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(**SHAPES[shape], max_position_embeddings=MAX_PAIR_TOKENS, tie_word_embeddings=True)
    ).eval()


WAYS = ("whole", "shared", "graphs")


class Ours:
    """A graph for GPUs, run by I/O binding.

    Args:
        way: "whole" = each pair by itself; "shared" = the prefix run once; "graphs" = the prefix run once, shapes recorded.
    """

    def __init__(self, graph: Path, architecture: Architecture, way: str, *, provider: str, batch_tokens: int) -> None:
        records = way == "graphs"
        session = open_session(graph, provider=provider, cuda_graphs=records and provider == "cuda")
        names = [given.name for given in session.get_inputs()]
        run = DeviceRun(session, "cpu" if provider == "cpu" else "cuda", records=records)
        self._graph = graph_io.open_graph(names, architecture, run, step=graph_io.SHAPE_STEP if records else 1)
        self._cut = repeating_batches if records else token_budget_batches
        self._batch_tokens, self._is_shared = batch_tokens, way != "whole"
        self._kept: dict[tuple[int, ...], graph_io.KeysValues] = {}

    def __call__(self, prefix: list[int], rows: Rows) -> list[float]:
        """Return a score for each row after the prefix, which is run anew unless its keys and values are part of a recording."""
        if not self._is_shared:
            prefix, rows = [], [prefix + row for row in rows]
        key = tuple(prefix)
        shared = self._kept.get(key) or self._graph.share(prefix)
        if self._cut is repeating_batches:  # in serving the prompt's head, which is kept as well
            self._kept[key] = shared
        found = [0.0] * len(rows)
        for batch in self._cut([len(row) for row in rows], self._batch_tokens):
            for i, pair in zip(batch, self._graph.logits([rows[i] for i in batch], shared), strict=True):
                found[i] = float(pair[1] - pair[0])
        return found


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


def measured(shape: str, precision: FusedPrecision, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return pairs a second of our engine's ways and of transformers, interleaved, the best of the rounds."""
    chance, model = random.Random(0), model_of(shape)
    words = SHAPES[shape]["vocab_size"]
    prefix = [chance.randrange(words) for _ in range(PREFIX_TOKENS)]
    rows = [[chance.randrange(words) for _ in range(length)] for length in lengths(args.data, args.pairs, chance)]
    config = SHAPES[shape]
    size = config["hidden_size"] // config["num_attention_heads"]
    architecture = Architecture(layers=config["num_hidden_layers"], key_value_heads=config["num_key_value_heads"], head_size=size)
    with tempfile.TemporaryDirectory() as work:
        graph = Path(work) / "model.onnx"
        write_graph(model, ANSWERS, graph, precision=precision, max_pair_tokens=MAX_PAIR_TOKENS)
        ways: dict[str, Callable[[list[int], Rows], list[float]]] = {
            way: Ours(graph, architecture, way, provider=args.provider, batch_tokens=args.batch_tokens) for way in args.ways
        }
        ways["transformers"] = peer(model, "cpu" if args.provider == "cpu" else "cuda")
        scores = {name: way(prefix, rows) for name, way in ways.items()}  # warms up, and records graphs
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in range(args.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way(prefix, rows)
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return {name: _figures(name, shape, len(rows), seconds, scores) for name in ways}


def _figures(name: str, shape: str, pairs: int, seconds: dict[str, float], scores: dict[str, list[float]]) -> dict[str, float]:
    speed = pairs / seconds[name]
    against = {"times_published": speed / PUBLISHED[shape]} if shape in PUBLISHED else {}
    worst = float(np.abs(np.subtract(scores[name], scores["transformers"])).max())
    return {
        "pairs_per_second": speed,
        "times_transformers": seconds["transformers"] / seconds[name],
        "largest_difference": worst,
    } | against


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
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--precisions", nargs="+", default=list(graph_io.FOR_GPU), choices=list(graph_io.FOR_GPU))
    args = parser.parse_args(arguments)
    for precision in args.precisions:
        providers.check_precision(args.provider, precision)
    print(
        json.dumps(
            {shape: {precision: measured(shape, precision, args) for precision in args.precisions} for shape in args.shapes}
        )
    )


if __name__ == "__main__":
    main()
