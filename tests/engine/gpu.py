"""The engine on a GPU beside torch, in one call: ``python -m tests.engine.gpu``.

Models of the Qwen2.5-0.5B and 1.5B shapes with random weights, which is enough for speed; requests of one query and 100
documents, pairs of at most 512 tokens. Lengths are drawn from ``--lengths``, a JSON object of token counts, "head" (of the
prompt), "queries" and "documents", or else spread as in Natural Questions. Published for these shapes on an H100: 809 and 387
pairs/s; the aim is three times that.

What is measured is what serves: the graphs of ``slimrank export --precision fp16``, ``bf16`` and ``int8-gpu``, opened as a
worker opens them and run by I/O binding (``slimrank.engine.device``), in the ways of ``WAYS``, in turns with torch: bf16, its
own attention kernel, batches of 128 sorted by length. A line of JSON is printed for each as soon as it is known. The tests run
all of it but CUDA itself and bf16, which a CPU cannot: ``--provider cpu --shapes tiny --precisions fp16 int8-gpu``.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from onnx_export.fused import FusedPrecision, write_graph
from slimrank import graph_io, providers
from slimrank.engine.batching import GPU_RUN_TOKENS, repeating_batches, token_budget_batches
from slimrank.engine.device import DeviceRun
from slimrank.engine.session import open_session
from slimrank.manifest import Architecture

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
PEER_ROWS = 128
WAYS = ("whole", "head", "shared", "graphs")
"""Each pair whole; the prompt's head run once for all; the head and each request's query run once; as "head", with CUDA graphs."""
Rows = list[list[int]]


@dataclass(frozen=True)
class Work:
    """Token ids: the prompt's head, and of each request the query's and every document's."""

    head: list[int]
    requests: list[tuple[list[int], Rows]]

    def pairs(self) -> Rows:
        """Return what follows the head in each pair."""
        return [query + document for query, documents in self.requests for document in documents]


Scorer = Callable[[Work], list[float]]


def model_of(shape: str, device: str) -> Any:
    """Return a Qwen2 of that shape with random weights, the same for a device at every call."""
    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES[shape], max_position_embeddings=MAX_PAIR_TOKENS, tie_word_embeddings=True)
    with torch.device(device):  # on a GPU the numbers are drawn there, in no time
        return Qwen2ForCausalLM(config).eval()


def architecture_of(shape: str) -> Architecture:
    """Return what serving knows of a model of that shape."""
    config = SHAPES[shape]
    size = config["hidden_size"] // config["num_attention_heads"]
    return Architecture(layers=config["num_hidden_layers"], key_value_heads=config["num_key_value_heads"], head_size=size)


class Ours:
    """A graph for GPUs, run by I/O binding in one of ``WAYS``."""

    def __init__(self, session: ort.InferenceSession, shape: str, way: str, *, device: str, batch_tokens: int) -> None:
        self._records = way == "graphs"
        names = [given.name for given in session.get_inputs()]
        run = DeviceRun(session, device, records=self._records)
        step = graph_io.SHAPE_STEP if self._records else 1
        self._graph = graph_io.open_graph(names, architecture_of(shape), run, step=step)
        self._way, self._batch_tokens = way, batch_tokens
        self._head: graph_io.KeysValues | None = None

    def __call__(self, work: Work) -> list[float]:
        """Return a score for each pair. The head's keys and values are kept from call to call, as in serving."""
        if self._way == "whole":
            return self._scored([work.head + pair for pair in work.pairs()], self._graph.share([]))
        if self._head is None:
            self._head = self._graph.share(work.head)
        if self._way != "shared":
            return self._scored(work.pairs(), self._head)
        return [
            score for query, rows in work.requests for score in self._scored(rows, self._graph.share(query, after=self._head))
        ]

    def _scored(self, rows: Rows, shared: graph_io.KeysValues) -> list[float]:
        lengths, found = [len(row) for row in rows], [0.0] * len(rows)
        if self._records:
            batches = repeating_batches(lengths, self._batch_tokens)
        else:
            batches = token_budget_batches(lengths, self._batch_tokens, run_tokens=GPU_RUN_TOKENS)
        for batch in batches:
            for i, pair in zip(batch, self._graph.logits([rows[i] for i in batch], shared), strict=True):
                found[i] = float(pair[1] - pair[0])
        return found


def peer(model: Any, device: str) -> Scorer:
    """Return torch in bf16, batches of like lengths, the head at the last slot only."""
    model = model.to(device, torch.bfloat16)

    def score(work: Work) -> list[float]:
        pairs = [work.head + pair for pair in work.pairs()]
        order, found = sorted(range(len(pairs)), key=lambda i: -len(pairs[i])), [0.0] * len(pairs)
        for start in range(0, len(order), PEER_ROWS):
            batch = order[start : start + PEER_ROWS]
            longest = len(pairs[batch[0]])
            ids = torch.tensor([[0] * (longest - len(pairs[i])) + pairs[i] for i in batch], device=device)
            seen = torch.tensor([[0] * (longest - len(pairs[i])) + [1] * len(pairs[i]) for i in batch], device=device)
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=seen, logits_to_keep=1, use_cache=False).logits[:, -1]
                logits = logits[:, list(ANSWERS)].float().cpu()
            for i, (irrelevant, relevant) in zip(batch, logits.tolist(), strict=True):
                found[i] = relevant - irrelevant
        return found

    return score


def graph_file(folder: Path, shape: str, precision: FusedPrecision, device: str) -> Path:
    """Return the graph of a shape, written if it is not there yet."""
    kept = folder / f"{shape}-{precision}"
    if not kept.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            write_graph(
                model_of(shape, device).cpu(),
                ANSWERS,
                Path(work) / "model.onnx",
                precision=precision,
                max_pair_tokens=MAX_PAIR_TOKENS,
            )
            (Path(work) / "done").mkdir()
            for file in Path(work).glob("model.onnx*"):
                file.rename(Path(work) / "done" / file.name)
            (Path(work) / "done").rename(kept)  # whole, or not at all
    return kept / "model.onnx"


def measured(
    shape: str, precision: FusedPrecision, work: Work, graph: Path, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield what each way and torch did, which took turns."""
    device = "cpu" if args.provider == "cpu" else "cuda"
    sessions = {
        records: open_session(graph, provider=args.provider, cuda_graphs=records and device == "cuda")
        for records in sorted({way == "graphs" for way in args.ways})
    }
    ways: dict[str, Scorer] = {
        way: Ours(sessions[way == "graphs"], shape, way, device=device, batch_tokens=args.batch_tokens) for way in args.ways
    }
    ways["torch"] = peer(model_of(shape, device), device)
    scores, failed, memory = {}, {}, {}
    for name, way in ways.items():  # warms up, and records graphs
        try:
            scores[name] = way(work)
        except Exception as error:  # one way's failure leaves the others to be measured
            failed[name] = str(error)[:500]
        memory[name] = _device_bytes(device)
    seconds: dict[str, list[float]] = {name: [] for name in scores}
    began = time.perf_counter()
    for _ in range(args.rounds):
        if time.perf_counter() - began > args.seconds:
            break
        for name, times in seconds.items():
            start = time.perf_counter()
            ways[name](work)
            times.append(time.perf_counter() - start)
    for name in ways:
        line: dict[str, Any] = {"shape": shape, "precision": precision, "way": name, "device_bytes": memory[name]}
        yield line | ({"failed": failed[name]} if name in failed else _figures(name, shape, seconds, scores))


def _device_bytes(device: str) -> int:
    """Return the memory in use on the device, by all: arenas keep what they once took."""
    if device == "cpu":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free


def _figures(name: str, shape: str, seconds: dict[str, list[float]], scores: dict[str, list[float]]) -> dict[str, Any]:
    median = {way: statistics.median(times) for way, times in seconds.items()}
    speed = len(scores[name]) / median[name]
    against = {"times_published": speed / PUBLISHED[shape]} if shape in PUBLISHED else {}
    figures: dict[str, Any] = {
        "pairs_per_second": speed,
        "best": len(scores[name]) / min(seconds[name]),
        "rounds": len(seconds[name]),
    }
    if "torch" in scores:
        difference = np.abs(np.subtract(scores[name], scores["torch"]))
        figures |= {"times_torch": median["torch"] / median[name], "largest_difference": float(difference.max())}
        figures |= {"scores_spread": float(np.std(scores["torch"]))}
    return figures | against


def work_of(shape: str, lengths: Path | None, requests: int, documents: int) -> Work:
    """Return random ids in the lengths asked for."""
    chance, words = random.Random(0), SHAPES[shape]["vocab_size"]
    known = json.loads(lengths.read_text()) if lengths else {"head": 32, "queries": [11, 13, 15]}

    def ids(count: int) -> list[int]:
        return [chance.randrange(words) for _ in range(count)]

    def document(room: int) -> list[int]:
        drawn = chance.choice(known["documents"]) if lengths else max(16, round(chance.lognormvariate(4.75, 0.5)))
        return ids(min(room, drawn))

    head, asked = ids(known["head"]), []
    for _ in range(requests):
        query = ids(chance.choice(known["queries"]))
        asked.append((query, [document(MAX_PAIR_TOKENS - len(head) - len(query)) for _ in range(documents)]))
    return Work(head, asked)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the shapes and print a line of JSON for each result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", default="cuda", choices=list(providers.NAMES))
    parser.add_argument("--shapes", nargs="+", default=["0.5b", "1.5b"], choices=list(SHAPES))
    parser.add_argument("--precisions", nargs="+", default=list(graph_io.FOR_GPU), choices=list(graph_io.FOR_GPU))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--lengths", type=Path, help="JSON of token counts: head, queries, documents.")
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=60.0, help="No round begins later.")
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--graphs", type=Path, help="Folder that keeps the graphs for the next call; default: none is kept.")
    parser.add_argument("--write-only", action="store_true", help="Write the graphs and measure nothing.")
    args = parser.parse_args(arguments)
    providers.chosen(args.provider, ort.get_available_providers())  # before minutes of work
    for precision in args.precisions:
        providers.check_precision(args.provider, precision)
    with ExitStack() as stack:
        folder = args.graphs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for shape in args.shapes:
            work = work_of(shape, args.lengths, args.requests, args.documents)
            for precision in args.precisions:
                graph = graph_file(folder, shape, precision, "cpu" if args.provider == "cpu" else "cuda")
                if args.write_only:
                    continue
                for line in measured(shape, precision, work, graph, args):
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
