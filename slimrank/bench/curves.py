"""``slimrank bench curves``: what the engine's time depends on, and how near it is to the limit of the processor.

Measures seconds by documents, by length of a pair and by threads; the time from the start to the first score; and how many
operations a second the matrix products reach, beside a plain fp32 product on the same cores. ``slimrank.bench.engine``
compares the engine with others.
"""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from slimrank import processor
from slimrank import settings as process_settings
from slimrank.engine.loading import open_engine
from slimrank.engine.session import OrtScorer

DOCUMENTS = (1, 5, 10, 20, 50, 100)
LENGTHS = (64, 128, 256, 512)
ROUNDS = 3
PREFIX_TOKENS = 40
DOCUMENT_TOKENS = 120
PEAK_SIZE = 1536


def measure_curves(folder: Path, *, threads: Sequence[int], most_documents: int, seed: int) -> dict[str, Any]:
    """Return the curves; each point is the best of three runs, seconds.

    Args:
        threads: Numbers of threads to try; the other curves use the first one.
        most_documents: Most documents of a request.
    """
    now, chance, settings = processor.conditions(), random.Random(seed), process_settings.load()
    began = time.perf_counter()
    scorer = open_engine(settings, folder, threads=threads[0])
    scorer.score_rows(_ids(chance, PREFIX_TOKENS), [_ids(chance, DOCUMENT_TOKENS)])
    first_score = time.perf_counter() - began
    counts = [count for count in DOCUMENTS if count <= most_documents]
    few = min(10, most_documents)
    limit = scorer.manifest.max_pair_tokens
    at_length = [length for length in LENGTHS if length <= limit]
    console = Console(stderr=True)
    by_documents = {n: _seconds(scorer, chance, n, DOCUMENT_TOKENS) for n in track(counts, "documents", console=console)}
    by_length = {n: _seconds(scorer, chance, few, n - PREFIX_TOKENS) for n in track(at_length, "pair tokens", console=console)}
    by_threads = {}
    for number in track(threads, "threads", console=console):
        other = scorer if number == threads[0] else open_engine(settings, folder, threads=number)
        by_threads[number] = _seconds(other, chance, few, DOCUMENT_TOKENS)
    operations = 2 * product_parameters(folder) * (PREFIX_TOKENS + counts[-1] * DOCUMENT_TOKENS)
    return now | {
        "model": scorer.manifest.name,
        "precision": scorer.manifest.precision,
        "threads": threads[0],
        "bytes_on_disk": sum(record.bytes for record in scorer.manifest.files.values()),
        "seconds_to_first_score": first_score,
        "seconds_by_documents": by_documents,
        "seconds_by_pair_tokens": by_length,
        "seconds_by_threads": by_threads,
        "products_gigaops": operations / by_documents[counts[-1]] / 1e9,
        "numpy_fp32_product_gigaops": peak_gigaops(),
    }


def thread_counts(threads: int) -> list[int]:
    """Return the numbers of threads to try: the given one (0 = all cores) first, then the powers of two below it."""
    most = processor.lanes(threads, "cpu")
    return [most, *(2**power for power in range(most.bit_length()) if 2**power < most)]


def product_parameters(folder: Path) -> int:
    """Return the number of weights that every token is multiplied with: all but those of embedding and head.

    A feed-forward layer of BERT's kind has two products, a gated one has three.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    groups = config.get("num_key_value_heads") or heads
    is_gated = "num_key_value_heads" in config or config["model_type"] == "modernbert"
    products = 2 * hidden * heads * size + 2 * hidden * groups * size + (3 if is_gated else 2) * hidden * inner
    return int(config["num_hidden_layers"] * products)


def peak_gigaops() -> float:
    """Return the operations a second, in billions, of numpy's fp32 matrix product; its library chooses the threads."""
    one = np.ones((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
    best = float("inf")
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIZE**3 / best / 1e9


def _seconds(scorer: OrtScorer, chance: random.Random, count: int, length: int) -> float:
    prefix, rows = _ids(chance, PREFIX_TOKENS), [_ids(chance, length) for _ in range(count)]
    best = float("inf")
    for _ in range(ROUNDS):
        fresh = scorer.with_budget(0)  # without a cached prefix
        began = time.perf_counter()
        fresh.score_rows(prefix, rows)
        best = min(best, time.perf_counter() - began)
    return best


def _ids(chance: random.Random, count: int) -> list[int]:
    return [chance.randrange(200) for _ in range(count)]
