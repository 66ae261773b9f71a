"""``slimrank bench``: load on a gateway at a stated rate, and what the queue costs over the embedded engine.

Requests leave when they are due, whether or not earlier ones were answered (an open loop), so a
gateway that falls behind shows it. Every answer is checked: each document exactly once, and the
text at each index the one that was sent.
"""

import asyncio
import contextlib
import json
import math
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from slimrank import settings as process_settings
from slimrank import store
from slimrank.errors import ConfigError, ModelNotReady
from slimrank.types import Scored

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "search",
    "engines",
    "rank",
    "pages",
    "for",
    "people",
    "who",
    "ask",
]
START_SECONDS = 60.0
QUICK_SECONDS = 240.0
"""With export, start and warm-up of all contenders it stays under ten minutes on two shared cores."""


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by what happened."""
    degraded: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    twice: int = 0
    """Answers that had been given before."""
    documents: int = 0
    """Documents of the full answers."""
    partial: int = 0
    """Answers with only some of the documents scored."""
    full_seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    late: int = 0
    """Full answers after their deadline."""
    ids: set[str] = field(default_factory=set)
    """Of the answers so far."""

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the figures; times in milliseconds."""
        answered = sum(self.statuses.values())
        return {
            "sent": self.sent,
            "answered": answered,
            "lost": self.sent - answered,
            "errors": dict(self.errors),
            "wrong": self.wrong,
            "twice": self.twice,
            "documents": self.documents,
            "offered_per_second": round(self.sent / seconds, 2),
            "goodput_per_second": round((len(self.full_seconds) - self.late) / seconds, 2),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "degraded": dict(self.degraded),
            "partial": self.partial,
            "full_ms": _percentiles(self.full_seconds),
            "refused_ms": _percentiles(self.refused_seconds),
        }


def bench(
    url: Annotated[str, typer.Option(help="The gateway.")] = "http://127.0.0.1:8080",
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long requests are sent.")] = 10.0,
    documents: Annotated[str, typer.Option(help="Numbers of documents a request, drawn evenly.")] = "10,50,100",
    characters: Annotated[int, typer.Option(min=1, help="Length of a document.")] = 1500,
    deadline_ms: Annotated[int, typer.Option(min=1, help="Deadline of every request.")] = 5000,
    on_failure: Annotated[str, typer.Option(help="error or first_stage.")] = "error",
    seed: Annotated[int, typer.Option(help="Seed of arrivals and sizes.")] = 0,
    serving: Annotated[
        bool, typer.Option("--serving", help="Measure the queue's cost over the embedded engine instead.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Compare the engine with its peers instead, on few requests.")] = False,
    engine: Annotated[bool, typer.Option("--engine", help="The same at length: 30 requests of 100 documents.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Measure the engine's memory over many mixed requests.")] = False,
    determinism: Annotated[
        bool, typer.Option("--determinism", help="Measure how far scores move between random batches.")
    ] = False,
    curves: Annotated[bool, typer.Option("--curves", help="Measure time against documents, length and threads.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the engine's comparison there: a .png or .svg file.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests of --memory, rounds of --determinism.")] = 100,
    most_documents: Annotated[int, typer.Option(min=1, help="Most documents of a request of --memory.")] = 4,
    model: Annotated[Path | None, typer.Option(help="Model folder of the engine's measurements.")] = None,
    plain: Annotated[Path | None, typer.Option(help="The same weights exported with --plain, a peer.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The same weights as a checkpoint, for torch peers.")] = None,
    data: Annotated[Path | None, typer.Option(help="BEIR folder to take pairs from; default Python's documentation.")] = None,
    pair_tokens: Annotated[int | None, typer.Option(min=64, help="Fill or cut every pair to so many tokens.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Documents a request of the engine's comparison.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each contender; 0 = its own choice.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a gateway at a stated rate, measure the queue or the engine, or compare the engine with its peers.

    Example: slimrank bench --rate 5 --seconds 600 --deadline-ms 2000 --json

    Example: slimrank bench --quick --json
    """
    from slimrank.serving.bench_bounds import measure_determinism, measure_memory  # onnxruntime
    from slimrank.serving.bench_curves import draw, measure_curves

    if quick or engine:
        report = compare_engine(
            model, plain, checkpoint, data, threads=threads, seed=seed, quick=not engine, depth=depth, pair_tokens=pair_tokens
        )
        if plot is not None:
            draw(report, plot)
    elif curves:
        folder = store.model_folder(process_settings.load(model=model))
        tried = [threads or os.cpu_count() or 1, 1]
        report = measure_curves(folder, threads=tried, most_documents=depth or 100, seed=seed)
    elif memory:
        folder = store.model_folder(process_settings.load(model=model))
        report = measure_memory(folder, requests=requests, most_documents=most_documents, threads=threads, seed=seed)
    elif determinism:
        folder = store.model_folder(process_settings.load(model=model))
        report = measure_determinism(folder, rounds=requests, threads=threads, seed=seed)
    elif serving:
        report = compare_ways(characters=characters)
    else:
        plan = Plan(url, rate, seconds, _sizes(documents), characters, deadline_ms, on_failure, seed)
        report = asyncio.run(load(plan))
    if json_output:
        typer.echo(json.dumps(report))
        return
    table = Table("figure", "value")
    for name, value in report.items():
        table.add_row(name, json.dumps(value))
    Console().print(table)


def compare_engine(
    model: Path | None,
    plain: Path | None,
    checkpoint: Path | None,
    data: Path | None,
    *,
    threads: int,
    seed: int,
    quick: bool,
    depth: int | None,
    pair_tokens: int | None,
) -> dict[str, Any]:
    """Compare the scoring engine with other ways to run the same weights."""
    from slimrank.serving.bench_engine import compare, made_plain

    settings = process_settings.load(model=model)
    folder = store.model_folder(settings)
    return compare(
        folder,
        plain=plain or made_plain(folder, checkpoint, settings.home_folder),
        checkpoint=checkpoint,
        data=data,
        queries=3 if quick else 30,
        depth=depth or (20 if quick else 100),
        threads=threads,
        seed=seed,
        seconds=QUICK_SECONDS if quick else float("inf"),
        pair_tokens=pair_tokens,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """A load."""

    url: str
    rate: float
    seconds: float
    sizes: Sequence[int]
    characters: int
    deadline_ms: int
    on_failure: str
    seed: int


async def load(plan: Plan) -> dict[str, Any]:
    """Send a plan's requests and return what became of them.

    Raises:
        ModelNotReady: the gateway is not ready.
    """
    chance, tally = random.Random(plan.seed), Tally()
    texts = Texts(chance, characters=plan.characters, count=2 * max(plan.sizes))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=plan.url, limits=limits, timeout=plan.deadline_ms / 1000 + 30) as client:
        await _check_ready(client, plan.url)
        begin, due, tasks = time.monotonic(), 0.0, []
        while due < plan.seconds:
            await asyncio.sleep(max(0.0, begin + due - time.monotonic()))
            body = texts.body(chance.choice(plan.sizes))
            body |= {"deadline_ms": plan.deadline_ms, "on_failure": plan.on_failure, "return_documents": True}
            tasks.append(asyncio.create_task(ask(client, body, tally)))
            due += chance.expovariate(plan.rate)
        await asyncio.gather(*tasks)
    return {"rate": plan.rate, "seconds": plan.seconds, "seed": plan.seed} | tally.report(plan.seconds)


async def _check_ready(client: httpx.AsyncClient, url: str) -> None:
    try:
        answer = await client.get("/readyz")
    except httpx.TransportError as error:
        raise ModelNotReady(f"nothing answers at {url}; start it with `slimrank serve`") from error
    if answer.status_code != 200:
        raise ModelNotReady(f"the gateway at {url} is not ready: {answer.json().get('message', answer.status_code)}")


async def ask(client: httpx.AsyncClient, body: dict[str, Any], tally: Tally) -> None:
    """Send a request, check its answer and count it."""
    tally.sent += 1
    begin = time.monotonic()
    try:
        answer = await client.post("/v1/rerank", json=body)
    except httpx.TransportError as error:
        tally.errors[type(error).__name__] += 1
        return
    taken = time.monotonic() - begin
    tally.statuses[answer.status_code] += 1
    if answer.status_code != 200:
        tally.refused_seconds.append(taken)
        return
    found = answer.json()
    tally.wrong += not _is_right(body["documents"], found["results"])
    tally.twice += found["id"] in tally.ids
    tally.ids.add(found["id"])
    if reason := answer.headers.get("x-slimrank-degraded"):
        tally.degraded[reason] += 1
        tally.refused_seconds.append(taken)
        return
    if "x-slimrank-partial" in answer.headers:
        tally.partial += 1
        return
    tally.full_seconds.append(taken)
    tally.documents += len(body["documents"])
    tally.late += taken > body["deadline_ms"] / 1000


def _is_right(documents: list[str], results: list[dict[str, Any]]) -> bool:
    """Tell whether an answer holds each document exactly once, at its own index."""
    places = sorted(result["index"] for result in results)
    return places == list(range(len(documents))) and all(
        result["document"]["text"] == documents[result["index"]] for result in results
    )


class Texts:
    """Documents and queries made beforehand, so that making them does not slow the load down."""

    def __init__(self, chance: random.Random, *, characters: int, count: int) -> None:
        self._chance = chance
        self._documents = [f"{place} {' '.join(chance.choices(WORDS, k=characters // 3))}"[:characters] for place in range(count)]

    def body(self, count: int) -> dict[str, Any]:
        """Return a request with ``count`` documents, all different."""
        return {"query": " ".join(self._chance.choices(WORDS, k=5)), "documents": self._chance.sample(self._documents, count)}


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--documents should be whole numbers above 0 with commas between, such as 10,100; found {text!r}")
    return sizes


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"p{percent}": round(1000 * ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)], 1)
        for percent in (50, 95, 99)
        if ordered
    }


class InstantScorer:
    """Scores by length, at once: what remains is the way there and back."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return one score a document."""
        scores = np.asarray([len(document) % 97 for document in documents], dtype=np.float32)
        return Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, len(documents))


def compare_ways(*, characters: int, count: int = 100, rounds: int = 300) -> dict[str, Any]:
    """Ask an embedded and a queued gateway in turn, both over a scorer that costs nothing.

    Redis is the one that ``SLIMRANK_REDIS_URL`` names.
    """
    body = Texts(random.Random(0), characters=characters, count=count).body(count)
    ports = _free_port(), _free_port()
    seconds: dict[str, list[float]] = {"embedded": [], "queued": []}
    with (
        _process("worker"),
        _process("gateway", SLIMRANK_PORT=ports[0], SLIMRANK_EMBEDDED=1),
        _process("gateway", SLIMRANK_PORT=ports[1]),
        httpx.Client(timeout=30) as client,
    ):
        urls = dict(zip(seconds, (f"http://127.0.0.1:{port}" for port in ports), strict=True))
        for url in urls.values():
            _wait_ready(client, url)
        for turn in range(rounds + 20):
            for way, url in urls.items():
                begin = time.perf_counter()
                client.post(f"{url}/v1/rerank", json=body).raise_for_status()
                if turn >= 20:  # the first ones warm connections up
                    seconds[way].append(time.perf_counter() - begin)
    report: dict[str, Any] = {way: {"min": round(1000 * min(v), 2)} | _percentiles(v) for way, v in seconds.items()}
    extra = [queued - embedded for embedded, queued in zip(seconds["embedded"], seconds["queued"], strict=True)]
    report["queue_costs_ms"] = {"median_of_pairs": round(1000 * median(extra), 2)}
    return {"documents": count, "characters": characters, "rounds": rounds} | report


def _wait_ready(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if client.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.2)
    raise ModelNotReady(f"{url} was not ready within {START_SECONDS:g} s; is Redis running at SLIMRANK_REDIS_URL?")


@contextlib.contextmanager
def _process(role: str, **variables: object) -> Iterator[None]:
    env = os.environ | {"SLIMRANK_LOG_LEVEL": "error"} | {name: str(value) for name, value in variables.items()}
    running = subprocess.Popen([sys.executable, "-m", "slimrank.serving.bench", role], env=env)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(role: str) -> None:
    """Run one process of the comparison."""
    from slimrank.serving.model import Model
    from slimrank.serving.server import run_gateway
    from slimrank.serving.worker import run_worker
    from slimrank.telemetry import configure_logging

    settings, model = process_settings.load(), Model("instant", InstantScorer())
    configure_logging(settings.log_level)
    if role == "worker":
        run_worker(settings, model)
    else:
        run_gateway(settings, model if settings.embedded else None)


if __name__ == "__main__":
    main(sys.argv[1])
