"""Compare the scoring engine with other ways to run the same weights: ``slimrank bench --quick``.

Every contender is a process of its own and gets the same token ids; each request goes to all of
them in turn before the next one, so what else the machine does hits all alike. A ratio is the median
over requests of peer's seconds by ours. On a machine with other work read ``cpu_ratios``: processor
time does not count waiting for a turn (give ``--threads 1``: threads that spin while they wait do count).

Without a collection, requests are made of the documentation of the Python language that comes
with every interpreter: real text at natural lengths.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np
from rich.progress import track
from tokenizers import Tokenizer

from slimrank import manifest as manifests
from slimrank.beir import read_collection
from slimrank.bm25 import BM25
from slimrank.errors import ConfigError, ScoringError
from slimrank.manifest import PROMPT_FILE, TOKENIZER_FILE, Manifest
from slimrank.prompt import Prompt, PromptEncoder, document_text

OURS = "fused"
TORCH_PEERS = ("torch-fp32", "torch-bf16")
INSTALLED_PEERS = {
    "sentence-transformers-fp32": "sentence_transformers",
    "sentence-transformers-bf16": "sentence_transformers",
    "mxbai-rerank-fp32": "mxbai_rerank",
}
"""Peers that take part where their package is installed (the extra ``bench``)."""
FOR_SCALE = "minilm-sized-fp32"
"""Random weights: what another size of model costs, not what it finds."""
WARM_UP_ROWS = 2


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One query's shared prefix and what follows it for each document, as token ids."""

    prefix: list[int]
    rows: list[list[int]]


@dataclass(slots=True)
class Contender:
    """A process that scores, and what was measured of it."""

    name: str
    process: "subprocess.Popen[str]"
    start_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    peak_bytes: int = 0

    def ask(self, request: TokenRequest, *, keep: bool) -> None:
        """Let it score a request.

        Raises:
            ScoringError: the process ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prefix": request.prefix, "rows": request.rows}) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.peak_bytes = answer["peak_bytes"]
        if keep:
            self.seconds.append(answer["seconds"])
            self.cpu_seconds.append(answer["cpu_seconds"])
            self.scores.append(answer["scores"])

    def answer(self) -> dict[str, Any]:
        """Read one line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ScoringError(f"the contender {self.name} ended with code {self.process.wait()}; its reason is above")
        found: dict[str, Any] = json.loads(line)
        return found


def compare(
    folder: Path,
    *,
    plain: Path | None,
    checkpoint: Path | None,
    data: Path | None,
    queries: int,
    depth: int,
    threads: int,
    seed: int,
    seconds: float = float("inf"),
    pair_tokens: int | None = None,
) -> dict[str, Any]:
    """Measure our engine and its peers.

    Args:
        folder: Model folder, as served.
        plain: The same weights exported with ``--plain``.
        checkpoint: The checkpoint, for torch; default where it lay at export.
        data: BEIR folder; default the interpreter's own documentation.
        seconds: No request is begun after so long; one is always measured.
        pair_tokens: Fill or cut every pair to so many tokens; default natural lengths.

    Raises:
        ConfigError: there is no peer to compare with.
    """
    manifest = manifests.check(folder)
    checkpoint = checkpoint or Path(manifest.made_with.get("checkpoint", ""))
    places = {OURS: folder, "fused-alone": folder}
    if plain is not None:
        places["plain"] = plain
    if (checkpoint / "config.json").is_file():
        installed = [name for name, package in INSTALLED_PEERS.items() if find_spec(package)]
        places |= dict.fromkeys([*TORCH_PEERS, *installed, FOR_SCALE], checkpoint)
    if len(places) == 2:
        raise ConfigError(f"there is nothing to compare with: no checkpoint at {checkpoint}; give --checkpoint or --plain")
    encoder = _encoder(folder, manifest)
    requests = list(_token_requests(encoder, data, queries, depth, seed))
    if pair_tokens is not None:
        requests = [_filled(request, pair_tokens) for request in requests]
    with ExitStack() as stack:
        contenders = [stack.enter_context(_started(name, place, manifest, threads)) for name, place in places.items()]
        for contender in contenders:
            contender.ask(TokenRequest(requests[0].prefix, requests[0].rows[:WARM_UP_ROWS]), keep=False)
        begin = monotonic()
        for turn, request in enumerate(track(requests, description="requests", console=_stderr())):
            if turn and monotonic() - begin > seconds:
                break
            for step in range(len(contenders)):  # another one begins each time
                contenders[(turn + step) % len(contenders)].ask(request, keep=True)
    return _report(contenders, requests[: len(contenders[0].seconds)], folder, manifest)


def made_plain(folder: Path, checkpoint: Path | None, home: Path) -> Path | None:
    """Return the same weights as Optimum's graph, exported on first use; None where there is no checkpoint.

    Exported by a process of its own, as the default model is: making a graph needs torch, and the parts meet on disk.
    """
    manifest = manifests.read(folder)
    source = checkpoint or Path(manifest.made_with.get("checkpoint", ""))
    if not (source / "config.json").is_file():
        return None
    target = home / "bench" / f"plain-{manifest.made_with.get('checkpoint_sha256', 'unknown')[:16]}"
    if not (target / manifests.MANIFEST_FILE).is_file():
        prompt = str(folder / PROMPT_FILE)
        limit = str(manifest.max_pair_tokens)
        command = [sys.executable, "-m", "slimrank", "export", str(source), "--out", str(target), "--plain", "--no-verify"]
        done = subprocess.run([*command, "--prompt", prompt, "--max-pair-tokens", limit], check=False, stdout=sys.stderr)
        if done.returncode != 0:
            return None
    return target


def _report(contenders: list[Contender], requests: list[TokenRequest], folder: Path, manifest: Manifest) -> dict[str, Any]:
    ours = contenders[0]
    return {
        "model": manifest.name,
        "precision": manifest.precision,
        "requests": len(requests),
        "pairs": sum(len(request.rows) for request in requests),
        "tokens": sum(len(request.rows) * len(request.prefix) + sum(map(len, request.rows)) for request in requests),
        "bytes_on_disk": sum(record.bytes for record in manifests.read(folder).files.values()),
        "ratios": _ratios(contenders, lambda contender: contender.seconds),
        "cpu_ratios": _ratios(contenders, lambda contender: contender.cpu_seconds),
        "contenders": {contender.name: _figures(contender, ours, requests) for contender in contenders},
    }


def _figures(contender: Contender, ours: Contender, requests: list[TokenRequest]) -> dict[str, float]:
    pairs = sum(len(request.rows) for request in requests)
    p50, p95, p99 = np.percentile(contender.seconds, [50, 95, 99])
    differences = [float(np.abs(np.subtract(a, b)).max()) for a, b in zip(contender.scores, ours.scores, strict=True)]
    return {
        "pairs_per_second": pairs / sum(contender.seconds),
        "cpu_seconds_per_pair": sum(contender.cpu_seconds) / pairs,
        "p50_seconds": float(p50),
        "p95_seconds": float(p95),
        "p99_seconds": float(p99),
        "start_seconds": contender.start_seconds,
        "peak_bytes": contender.peak_bytes,
    } | ({} if contender.name == FOR_SCALE else {"largest_difference_from_ours": max(differences)})


def _ratios(contenders: list[Contender], spent: Callable[[Contender], list[float]]) -> dict[str, float | None]:
    """Return how many times as long as ours each peer took."""
    ours = spent(contenders[0])
    found = {peer.name: median(theirs / mine for theirs, mine in zip(spent(peer), ours, strict=True)) for peer in contenders[1:]}
    torch = [found[name] for name in (*TORCH_PEERS, *INSTALLED_PEERS) if name in found]
    return {
        "best_torch_peer": min(torch) if torch else None,
        "plain_optimum": found.get("plain"),
        "torch_fp32": found.get("torch-fp32"),
        "torch_bf16": found.get("torch-bf16"),
        "without_sharing": found["fused-alone"],
        "minilm_sized": found.get(FOR_SCALE),
    } | {name.replace("-", "_"): found[name] for name in INSTALLED_PEERS if name in found}


def _encoder(folder: Path, manifest: Manifest) -> PromptEncoder:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    prompt = Prompt.load(folder / PROMPT_FILE)
    limits = {"max_pair_tokens": manifest.max_pair_tokens, "max_query_tokens": manifest.max_query_tokens}
    return PromptEncoder(prompt, tokenizer, **limits)


def _token_requests(encoder: PromptEncoder, data: Path | None, queries: int, depth: int, seed: int) -> Iterator[TokenRequest]:
    for query, documents in _collection(data, queries, depth, seed) if data else _python_documentation(queries, depth, seed):
        prefix = encoder.prefix_ids(query).ids
        yield TokenRequest(prefix, [piece.ids + encoder.suffix_ids for piece in encoder.document_ids(documents, len(prefix))])


def _filled(request: TokenRequest, pair_tokens: int) -> TokenRequest:
    """Return the request with every pair filled, by repeating its document, or cut to one length."""
    room = max(1, pair_tokens - len(request.prefix))
    return TokenRequest(request.prefix, [(row * -(-room // len(row)))[:room] for row in request.rows])


def _collection(folder: Path, queries: int, depth: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    collection = read_collection(folder, "test")
    texts = {doc_id: document_text(document.title, document.text) for doc_id, document in collection.documents.items()}
    index = BM25(texts)
    chosen = random.Random(seed).sample(sorted(collection.qrels), min(queries, len(collection.qrels)))
    for query_id in chosen:
        query = collection.queries[query_id]
        yield query, [texts[doc_id] for doc_id in index.search(query, depth)]


def _python_documentation(queries: int, depth: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    from pydoc_data.topics import topics

    chooser = random.Random(seed)
    paragraphs = [text for topic in topics.values() for text in topic.split("\n\n") if len(text) > 80]
    for topic in chooser.sample(sorted(topics), queries):
        yield f"how does {topic} work in python", chooser.sample(paragraphs, depth)


@contextmanager
def _started(name: str, folder: Path, manifest: Manifest, threads: int) -> Iterator[Contender]:
    answers = [str(manifest.irrelevant_id), str(manifest.relevant_id)]
    command = [sys.executable, "-m", "slimrank.serving.bench_peers", name, str(folder), str(threads), *answers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            contender = Contender(name, process)
            contender.start_seconds = contender.answer()["start_seconds"]
            yield contender
        finally:
            process.kill()


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)
