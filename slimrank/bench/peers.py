"""The contenders of ``slimrank bench engine``: ways to run the same weights on the same token ids, each in its own process.

    python -m slimrank.bench.peers KIND FOLDER THREADS

Reads one JSON object a line, ``{"prefix": ids, "rows": [ids, ...]}``, and answers with seconds, scores and peak memory.
Only the contenders that run in torch load it.

    fused          our engine: the model folder as it is served
    fused-alone    the same graph without sharing the prefix
    plain          Optimum's graph in ONNX Runtime, sorted batches of 32, nothing shared
    torch-fp32, torch-bf16
                   transformers as sentence-transformers' CrossEncoder runs a causal LM: pairs
                   sorted by length, batches of 32, left padding, the head at the last slot only
    sentence-transformers-fp32, sentence-transformers-bf16
                   that CrossEncoder itself, with its LogitScore module; only where it is installed
    mxbai-rerank-fp32
                   mxbai-rerank's own class, whose head runs at every slot; only where it is installed

    minilm-sized-fp32
                   for scale, an encoder of MiniLM-L6's size in torch; its weights are random, so it shows cost alone

For sentence-transformers and mxbai-rerank, our token ids replace their tokenization. All else is their own code.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slimrank import settings as process_settings

PEER_BATCH = 32
"""sentence-transformers' default."""

Score = Callable[[list[int], list[list[int]]], list[float]]


def fused(folder: str, threads: int) -> Score:
    """Our engine; the pairs of a query share its prefix."""
    from slimrank.engine.loading import open_engine
    from slimrank.engine.probe import PROBES

    settings = process_settings.load()
    scorer = open_engine(settings, Path(folder), threads=threads)
    scorer.warm_up(settings.home_folder / PROBES)  # as the worker does; timings are kept from the first start on
    return lambda prefix, rows: [float(score) for score in scorer.score_rows(prefix, rows)]


def fused_alone(folder: str, threads: int) -> Score:
    """Our engine; the pairs share nothing."""
    score = fused(folder, threads)
    return lambda prefix, rows: score([], [prefix + row for row in rows])


def plain(folder: str, threads: int) -> Score:
    """Optimum's graph, run as its documentation shows."""
    from slimrank import graph_io, manifest
    from slimrank.engine.session import open_session
    from slimrank.manifest import GRAPH_FILE
    from slimrank.scoring import scores_from_logits

    checked = manifest.check(Path(folder), unverified=True)
    session = open_session(Path(folder) / GRAPH_FILE, threads=threads, provider=process_settings.load().provider)
    graph = graph_io.open_graph([given.name for given in session.get_inputs()], checked.architecture, session.run)
    nothing = graph.share([])
    return _batched(lambda rows: [float(score) for score in scores_from_logits(graph.logits(rows, nothing))])


def torch_peer(folder: str, threads: int, *, half: bool, answer_ids: Sequence[int]) -> Score:
    """The model in transformers, on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    if not answer_ids:
        return cross_encoder_peer(folder, threads, half=half)

    if threads:
        torch.set_num_threads(threads)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if half else torch.float32)
    irrelevant, relevant = answer_ids

    def run(rows: list[list[int]]) -> list[float]:
        ids, mask = _left_padded(rows)
        with torch.inference_mode():
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            out = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=False)
        logits = out.logits[:, -1].float()
        return [float(score) for score in logits[:, relevant] - logits[:, irrelevant]]

    return _batched(run)


def cross_encoder_peer(folder: str, threads: int, *, half: bool) -> Score:
    """A cross-encoder in transformers on the CPU, run as CrossEncoder of sentence-transformers does: in sorted, padded batches of 32."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if threads:
        torch.set_num_threads(threads)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16 if half else torch.float32)

    def score(prefix: list[int], rows: list[list[int]]) -> list[float]:
        def run(whole: list[list[int]]) -> list[float]:
            longest = max(map(len, whole))
            feed = {
                "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in whole]),
                "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in whole]),
            }
            if getattr(model.config, "type_vocab_size", 0) > 1:
                feed["token_type_ids"] = (torch.arange(longest) >= len(prefix)).long().expand(len(whole), -1)
            with torch.inference_mode():
                return [float(value) for value in model(**feed).logits[:, 0].float()]

        return _batched(run)(prefix, rows)

    return score


def sentence_transformers_peer(folder: str, threads: int, *, half: bool, answer_ids: Sequence[int]) -> Score:
    """The class CrossEncoder of sentence-transformers with a causal language model."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    class OurTokens(CrossEncoder):  # type: ignore[misc]  # untyped
        def preprocess(self, inputs: list[Any], **kwargs: Any) -> dict[str, Any]:
            ids, mask = _left_padded([row.ids for _, row in inputs])
            return {"input_ids": ids, "attention_mask": mask}

    if threads:
        torch.set_num_threads(threads)
    options = {"dtype": torch.bfloat16 if half else torch.float32}
    irrelevant, relevant = answer_ids
    head = LogitScore(true_token_id=relevant, false_token_id=irrelevant)
    model = OurTokens(
        modules=[Transformer(folder, transformer_task="text-generation", model_kwargs=options), head],
        device="cpu",
        activation_fn=torch.nn.Identity(),
    )

    def score(prefix: list[int], rows: list[list[int]]) -> list[float]:
        found = model.predict([("", _TokenText(prefix + row)) for row in rows], batch_size=PEER_BATCH, show_progress_bar=False)
        return [float(value) for value in found]

    return score


def mxbai_peer(folder: str, threads: int) -> Score:
    """The class of mxbai-rerank for causal language models."""
    import torch
    from mxbai_rerank.mxbai_rerank_v2 import MxbaiRerankV2

    if threads:
        torch.set_num_threads(threads)
    model = MxbaiRerankV2(folder, device="cpu", torch_dtype=torch.float32)

    def run(rows: list[list[int]]) -> list[float]:
        ids, mask = _left_padded(rows, multiple=8)
        with torch.inference_mode():
            return [float(value) for value in model.forward(input_ids=ids, attention_mask=mask).logits.float()]

    return _batched(run)


def minilm_sized_peer(threads: int) -> Score:
    """A cross-encoder of MiniLM-L6's shape with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    if threads:
        torch.set_num_threads(threads)
    shape = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    config = BertConfig(**shape, vocab_size=30_522, max_position_embeddings=512, num_labels=1)
    model = BertForSequenceClassification(config).eval()

    def run(rows: list[list[int]]) -> list[float]:
        ids, mask = _left_padded([[token % config.vocab_size for token in row[: config.max_position_embeddings]] for row in rows])
        with torch.inference_mode():
            return [float(value) for value in model(input_ids=ids, attention_mask=mask).logits[:, 0]]

    return _batched(run)


class _TokenText(str):
    """A text that carries token ids, and is as long as they are many, so that others sort it by their number."""

    ids: list[int]

    def __new__(cls, ids: list[int]) -> "_TokenText":
        text = super().__new__(cls, "x" * len(ids))
        text.ids = ids
        return text


def _left_padded(rows: list[list[int]], *, multiple: int = 1) -> tuple[Any, Any]:
    import torch

    longest = -(-max(map(len, rows)) // multiple) * multiple
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])


def _batched(run: Callable[[list[list[int]]], list[float]]) -> Score:
    def score(prefix: list[int], rows: list[list[int]]) -> list[float]:
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        scores = [0.0] * len(rows)
        for start in range(0, len(order), PEER_BATCH):
            chosen = order[start : start + PEER_BATCH]
            for i, value in zip(chosen, run([prefix + rows[i] for i in chosen]), strict=True):
                scores[i] = value
        return scores

    return score


def main(kind: str, folder: str, threads: int, answer_ids: Sequence[int]) -> None:
    """Answer requests from standard input until it ends. A model without answer tokens is a cross-encoder."""
    started = time.perf_counter()
    peers: dict[str, Callable[[], Score]] = {
        "fused": lambda: fused(folder, threads),
        "fused-alone": lambda: fused_alone(folder, threads),
        "plain": lambda: plain(folder, threads),
        "torch-fp32": lambda: torch_peer(folder, threads, half=False, answer_ids=answer_ids),
        "torch-bf16": lambda: torch_peer(folder, threads, half=True, answer_ids=answer_ids),
        "sentence-transformers-fp32": lambda: sentence_transformers_peer(folder, threads, half=False, answer_ids=answer_ids),
        "sentence-transformers-bf16": lambda: sentence_transformers_peer(folder, threads, half=True, answer_ids=answer_ids),
        "mxbai-rerank-fp32": lambda: mxbai_peer(folder, threads),
        "minilm-sized-fp32": lambda: minilm_sized_peer(threads),
    }
    score = peers[kind]()
    print(json.dumps({"start_seconds": time.perf_counter() - started}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        began, cpu_began = time.perf_counter(), time.process_time()
        scores = score(request["prefix"], request["rows"])
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer = {"seconds": seconds, "cpu_seconds": cpu_seconds, "scores": scores, "peak_bytes": peak}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(token) for token in sys.argv[4:]])
