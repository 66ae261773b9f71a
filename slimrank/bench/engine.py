"""``slimrank bench engine``: compare the scoring engine with other ways to run the same weights.

Every contender is a process of its own and gets the same token ids. Each request goes to all of them in turn before the
next one, so that other work on the machine slows all of them alike. A ratio is the seconds of a peer divided by ours, in the
median over requests. On a busy machine, read ``cpu_ratios``: processor time leaves out the waiting for a turn. Give
``--threads 1`` then, since threads that spin while they wait use processor time.

If the pairs are judged, the report holds nDCG@10 of each contender beside ours, on the same requests: a fast contender must
rank as well. ``slimrank.bench.pairs`` makes the pairs.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from slimrank import manifest as manifests
from slimrank import processor
from slimrank.bench.pairs import Pairs, TokenRequest, token_pairs
from slimrank.errors import ConfigError, ScoringError
from slimrank.evaluation import measures
from slimrank.evaluation.evaluate import paired_gain
from slimrank.manifest import GRAPH_FILE, PROMPT_FILE, Manifest
from slimrank.options import SPLIT

OURS = "fused"
TORCH_PEERS = ("torch-fp32", "torch-bf16")
INSTALLED_PEERS = {
    "sentence-transformers-fp32": "sentence_transformers",
    "sentence-transformers-bf16": "sentence_transformers",
    "mxbai-rerank-fp32": "mxbai_rerank",
}
"""Peers that take part if their package is installed (the extra ``bench``)."""
FOR_SCALE = "minilm-sized-fp32"
"""A model of random weights: it shows what another size costs, and nothing of quality."""
WARM_UP_ROWS = 2


@dataclass(slots=True)
class Contender:
    """A process that scores, and what was measured of it."""

    name: str
    process: "subprocess.Popen[str]"
    load_seconds: float = 0.0
    first_answer_seconds: float = 0.0
    """Seconds from the start of the process, with Python's start and its imports."""
    seconds: list[float] = field(default_factory=list)
    """Seconds of each request, from the first one on; a contender may leave before the last one."""
    cpu_seconds: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    tokens: int = 0
    peak_bytes: int = 0

    def ask(self, request: TokenRequest) -> dict[str, Any]:
        """Send a request to the contender, and return its answer.

        Raises:
            ScoringError: the process ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prefix": request.prefix, "rows": request.rows}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def count(self, request: TokenRequest) -> None:
        """Send a request to the contender, and count its answer."""
        answer = self.ask(request)
        self.peak_bytes = answer["peak_bytes"]
        self.seconds.append(answer["seconds"])
        self.cpu_seconds.append(answer["cpu_seconds"])
        self.scores.append(answer["scores"])
        self.tokens += request.tokens

    def expected_seconds(self, request: TokenRequest) -> float:
        """Return how long a request will take, judged by the tokens that the contender has scored."""
        return sum(self.seconds) / self.tokens * request.tokens if self.tokens else 0.0

    def answer(self) -> dict[str, Any]:
        """Read one line of the contender's output."""
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
    split: str = SPLIT,
    queries: int,
    depth: int,
    threads: int,
    seed: int,
    seconds: float = float("inf"),
    pair_tokens: int | None = None,
    without: Collection[str] = (),
    keep: Callable[[dict[str, Any]], None] = lambda report: None,
) -> dict[str, Any]:
    """Measure our engine and its peers.

    Args:
        folder: Model folder, as served.
        plain: The same weights exported with ``--plain``.
        checkpoint: The checkpoint, for torch; default the folder that the model was exported from.
        data: BEIR folder; default the documentation of this Python.
        split: Split of ``data``.
        seconds: Every contender answers the first request. A later request is sent only if it is expected to end within this
            time. So a slow contender leaves earlier, and ours never leaves before another.
        pair_tokens: Fill or cut every pair to this many tokens; default natural lengths.
        without: Contenders to leave out.
        keep: Is called with the unfinished report after each answer.

    Raises:
        ConfigError: there is no peer to compare with, or the checkpoint's weights are not the folder's.
    """
    manifest = manifests.check(folder)
    places = {name: place for name, place in _places(folder, manifest, plain, checkpoint).items() if name not in without}
    pairs = token_pairs(folder, manifest, data, split=split, queries=queries, depth=depth, seed=seed, pair_tokens=pair_tokens)
    asked = processor.conditions() | {"depth": depth, "pair_tokens": pair_tokens, "left_out": sorted(without)}
    begin = monotonic()
    with ExitStack() as stack:
        contenders = [stack.enter_context(_started(name, place, manifest, threads)) for name, place in places.items()]
        ours, warm_up = contenders[0], replace(pairs.requests[0], rows=pairs.requests[0].rows[:WARM_UP_ROWS])
        for contender in contenders:
            began = monotonic()
            contender.ask(warm_up)
            contender.first_answer_seconds += monotonic() - began
        for turn, request in enumerate(track(pairs.requests, description="requests", console=Console(stderr=True))):
            if turn and monotonic() - begin + ours.expected_seconds(request) > seconds:
                break
            for step in range(len(contenders)):  # another one begins each time
                contender = contenders[(turn + step) % len(contenders)]
                waiting = ours.expected_seconds(request) if len(ours.seconds) == turn and contender is not ours else 0.0
                ends = monotonic() - begin + contender.expected_seconds(request) + waiting
                if contender is ours or (len(contender.seconds) == turn and (not turn or ends <= seconds)):
                    contender.count(request)
                    keep(asked | report_of(contenders, pairs, folder, manifest))
    return asked | report_of(contenders, pairs, folder, manifest)


def _places(folder: Path, manifest: Manifest, plain: Path | None, checkpoint: Path | None) -> dict[str, Path]:
    """Return the contenders and the folder of each."""
    checkpoint = checkpoint or Path(manifest.made_with.get("checkpoint", ""))
    is_pair = manifest.kind == "cross_encoder"
    places = {OURS: folder} | ({} if is_pair else {"fused-alone": folder})
    ours = len(places)
    if plain is not None:
        places["plain"] = plain
    if (checkpoint / "config.json").is_file():
        _check_weights(checkpoint, manifest)
        # The others' classes are for language models.
        installed = [name for name, package in INSTALLED_PEERS.items() if not is_pair and find_spec(package)]
        torch_peers = TORCH_PEERS if not is_pair or _has_head(checkpoint) else ()
        places |= dict.fromkeys([*torch_peers, *installed, FOR_SCALE], checkpoint)
    if len(places) == ours:
        raise ConfigError(f"there is nothing to compare with: no checkpoint at {str(checkpoint)!r}; give --checkpoint or --plain")
    return places


def _has_head(checkpoint: Path) -> bool:
    """Tell whether transformers loads a whole cross-encoder; of a chain of modules, it loads the body and gives it a random head."""
    architectures = json.loads((checkpoint / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def _check_weights(checkpoint: Path, manifest: Manifest) -> None:
    """Refuse a checkpoint of other weights, if one hash is known for each."""
    expected = manifest.made_with.get("checkpoint_sha256", "")
    parts = sorted(checkpoint.glob("*.safetensors"))
    if not expected or "+" in expected or len(parts) != 1:
        return
    if (found := manifests.sha256_of(parts[0])) != expected:
        raise ConfigError(
            f"{manifest.name} was exported from weights {expected[:12]}, but {parts[0]} has {found[:12]};"
            " give --checkpoint the folder it was exported from, or export it again"
        )


def made_plain(folder: Path, checkpoint: Path | None, home: Path) -> Path | None:
    """Return the same weights as Optimum's graph, exported on first use; None if there is no checkpoint.

    Another process makes the export, because making a graph needs torch, and this process must not load it.
    """
    manifest = manifests.read(folder)
    source = checkpoint or Path(manifest.made_with.get("checkpoint", ""))
    if not (source / "config.json").is_file():
        return None
    target = home / "bench" / f"plain-{manifest.made_with.get('checkpoint_sha256', 'unknown')[:16]}"
    if not (target / manifests.MANIFEST_FILE).is_file():
        prompt = str(folder / PROMPT_FILE)
        limit = str(manifest.max_pair_tokens)
        command = [sys.executable, "-m", "slimrank", "export", str(source), "--out", str(target), "--no-verify"]
        command += ["--max-pair-tokens", limit]
        if manifest.kind == "language_model":  # a cross-encoder's graph is Optimum's in any case
            command += ["--plain", "--prompt", prompt]
        done = subprocess.run(command, check=False, stdout=sys.stderr)
        if done.returncode != 0:
            return None
    return target


def report_of(contenders: list[Contender], pairs: Pairs, folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the figures of the contenders that answered at least one request."""
    ours, *peers = contenders
    answered = [ours, *(peer for peer in peers if peer.seconds and ours.seconds)]
    asked = pairs.requests[: len(ours.seconds)]
    return {
        "model": manifest.name,
        "precision": manifest.precision,
        "graph_sha256": manifest.files[GRAPH_FILE].sha256,
        "source": pairs.source,
        "requests": len(asked),
        "pairs": sum(len(request.rows) for request in asked),
        "tokens": sum(request.tokens for request in asked),
        "bytes_on_disk": sum(record.bytes for record in manifest.files.values()),
        "ratios": _ratios(answered, lambda contender: contender.seconds),
        "cpu_ratios": _ratios(answered, lambda contender: contender.cpu_seconds),
        "contenders": {contender.name: _figures(contender, ours, pairs) for contender in answered if contender.seconds},
    }


def _figures(contender: Contender, ours: Contender, pairs: Pairs) -> dict[str, Any]:
    done = pairs.requests[: len(contender.seconds)]
    count = sum(len(request.rows) for request in done)
    p50, p95, p99 = np.percentile(contender.seconds, [50, 95, 99])
    return {
        "requests": len(done),
        "pairs_per_second": count / sum(contender.seconds),
        "tokens_per_second": contender.tokens / sum(contender.seconds),
        "cpu_seconds_per_pair": sum(contender.cpu_seconds) / count,
        "p50_seconds": float(p50),
        "p95_seconds": float(p95),
        "p99_seconds": float(p99),
        "seconds": contender.seconds,
        "start_seconds": contender.load_seconds,
        "first_answer_seconds": contender.first_answer_seconds,
        "peak_bytes": contender.peak_bytes,
    } | ({} if contender.name == FOR_SCALE else _agreement(contender, ours, pairs))


def _agreement(contender: Contender, ours: Contender, pairs: Pairs) -> dict[str, Any]:
    """Return how far its scores are from ours and, if the pairs are judged, how well each ranks."""
    both = list(zip(pairs.requests, contender.scores, ours.scores, strict=False))
    found: dict[str, Any] = {"largest_difference_from_ours": max(float(np.abs(np.subtract(a, b)).max()) for _, a, b in both)}
    if not pairs.qrels:
        return found
    qrels = {request.query_id: pairs.qrels[request.query_id] for request, _, _ in both}
    theirs, our = (
        measures.per_query(
            qrels,
            {each[0].query_id: dict(zip(each[0].doc_ids, each[side], strict=True)) for each in both},  # type: ignore[arg-type]
            ["nDCG@10"],
        )["nDCG@10"]
        for side in (1, 2)
    )
    gain = paired_gain(theirs, our)
    return found | {
        "nDCG@10": float(np.mean(list(theirs.values()))),
        "ours_gains_nDCG@10": {"mean": gain.mean, "low": gain.low, "high": gain.high},
    }


def _ratios(contenders: list[Contender], spent: Callable[[Contender], list[float]]) -> dict[str, float | None]:
    """Return how many times as long as ours each peer took: the median over the requests that both answered."""
    ours = spent(contenders[0])
    found = {peer.name: median(theirs / mine for theirs, mine in zip(spent(peer), ours, strict=False)) for peer in contenders[1:]}
    torch = [found[name] for name in (*TORCH_PEERS, *INSTALLED_PEERS) if name in found]
    return {
        "best_torch_peer": min(torch) if torch else None,
        "plain_optimum": found.get("plain"),
        "torch_fp32": found.get("torch-fp32"),
        "torch_bf16": found.get("torch-bf16"),
        "without_sharing": found.get("fused-alone"),
        "minilm_sized": found.get(FOR_SCALE),
    } | {name.replace("-", "_"): found[name] for name in INSTALLED_PEERS if name in found}


@contextmanager
def _started(name: str, folder: Path, manifest: Manifest, threads: int) -> Iterator[Contender]:
    answers = [str(token) for token in (manifest.irrelevant_id, manifest.relevant_id) if token is not None]
    command = [sys.executable, "-m", "slimrank.bench.peers", name, str(folder), str(threads), *answers]
    begin = monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            contender = Contender(name, process)
            contender.load_seconds = contender.answer()["start_seconds"]
            contender.first_answer_seconds = monotonic() - begin
            yield contender
        finally:
            process.kill()
