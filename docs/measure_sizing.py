"""Measure the sizing table of docs/guides/operating.md on this machine.

    python -m docs.measure_sizing --model FOLDER_OR_NAME [--model OTHER_PRECISION] [--seconds 30] [--write]

The usual request has 50 documents of 128 tokens, one process on all cores, and the first model. The other lines change one
thing: cores and processes, depth, document length, or precision. Every process runs only the serving engine, without HTTP
and queue, pinned to its own cores. A line runs for ``--seconds``, and for at least five requests. The texts are
Python's documentation, cut to exactly the length of the line.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tokenizers import Tokenizer

from docs.marks import fill
from slimrank import manifest, processor, settings, store
from slimrank.prompt import Prompt, PromptEncoder

PAGE = Path(__file__).parent / "guides" / "operating.md"
BEGIN, END = "<!-- sizing: python -m docs.measure_sizing -->", "<!-- end of sizing -->"
DEPTHS, LENGTHS = (10, 50, 100), (64, 128, 256, 448)
LEAST = 5
QUERY = "run a shell command and capture its output"


@dataclass(frozen=True, slots=True)
class Line:
    """The settings of one line of the table."""

    folder: Path
    processes: int
    cores_each: int
    depth: int = 50
    tokens: int = 128


@dataclass(frozen=True, slots=True)
class Figures:
    """The measured figures of one line."""

    documents_per_second: float
    p50_ms: float
    p95_ms: float
    requests: int


def lines(folders: list[Path], cores: int) -> Iterator[Line]:
    """Yield the lines: first the usual request, then requests that differ from it in one thing."""
    usual = Line(folders[0], 1, cores)
    yield usual
    if cores > 1:
        yield replace(usual, cores_each=1)
        yield replace(usual, processes=cores, cores_each=1)
    yield from (replace(usual, depth=depth) for depth in DEPTHS if depth != usual.depth)
    yield from (replace(usual, tokens=tokens) for tokens in LENGTHS if tokens != usual.tokens)
    yield from (replace(usual, folder=folder) for folder in folders[1:])


def measure(line: Line, seconds: float) -> Figures:
    """Let every process of a line answer requests for ``seconds``."""
    requests = _requests(line)
    with ExitStack() as stack, ThreadPoolExecutor(line.processes) as pool:
        processes = [stack.enter_context(_scoring(line, place)) for place in range(line.processes)]
        for process in processes:
            _ask(process, requests[0])  # the first request does work that later ones do not
        begin = time.perf_counter()
        spent = list(pool.map(lambda process: _run(process, requests, begin + seconds), processes))
        wall = time.perf_counter() - begin
    every = [each for of_process in spent for each in of_process]
    p50, p95 = np.percentile(every, [50, 95])
    return Figures(len(every) * line.depth / wall, float(p50) * 1000, float(p95) * 1000, len(every))


def _run(process: "subprocess.Popen[str]", requests: list[str], until: float) -> list[float]:
    spent: list[float] = []
    for request in cycle(requests):
        spent.append(_ask(process, request))
        if time.perf_counter() > until and len(spent) >= LEAST:
            return spent
    return spent


def _ask(process: "subprocess.Popen[str]", request: str) -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request)
    process.stdin.flush()
    return float(json.loads(process.stdout.readline())["seconds"])


@contextmanager
def _scoring(line: Line, place: int) -> "Iterator[subprocess.Popen[str]]":
    checked = manifest.read(line.folder)
    mine = sorted(os.sched_getaffinity(0))[place * line.cores_each : (place + 1) * line.cores_each]
    command = [sys.executable, "-m", "slimrank.bench.peers", "fused", str(line.folder), str(line.cores_each)]
    command += [str(checked.irrelevant_id), str(checked.relevant_id)]
    pin = ["taskset", "--cpu-list", ",".join(map(str, mine))]
    with subprocess.Popen([*pin, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has loaded
            yield process
        finally:
            process.kill()


def _requests(line: Line, count: int = 8) -> list[str]:
    """Return ``count`` requests with different documents, in the format that the process reads."""
    checked, prompt = manifest.read(line.folder), Prompt.load(line.folder / manifest.PROMPT_FILE)
    tokenizer = Tokenizer.from_file(str(line.folder / manifest.TOKENIZER_FILE))
    encoder = PromptEncoder(prompt, tokenizer, max_pair_tokens=checked.max_pair_tokens, max_query_tokens=checked.max_query_tokens)
    prefix = encoder.prefix_ids(QUERY).ids
    documents = _documents(tokenizer, line.tokens)
    rows = [[[*next(documents), *encoder.suffix_ids] for _ in range(line.depth)] for _ in range(count)]
    return [json.dumps({"prefix": prefix, "rows": each}) + "\n" for each in rows]


def _documents(tokenizer: Tokenizer, length: int) -> Iterator[list[int]]:
    """Yield pieces of Python's documentation without end, each with exactly ``length`` tokens."""
    texts = sorted(topics.values())
    random.Random(0).shuffle(texts)
    for text in cycle(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        yield from (ids[at : at + length] for at in range(0, len(ids) - length + 1, length))


def table(folders: list[Path], seconds: float) -> str:
    """Measure every line; return the machine, the command and the table."""
    cores = len(os.sched_getaffinity(0))
    command = " ".join(["python -m docs.measure_sizing", *(f"--model {manifest.read(folder).precision}" for folder in folders)])
    rows = [
        f"{manifest.read(folders[0]).name} on {cores} cores of {processor.describe()}, {time.strftime('%Y-%m-%d')}:"
        f" `{command} --seconds {seconds:g}`",
        "",
        "| precision | processes x cores | documents | tokens each | documents/s | p50 ms | p95 ms | requests |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines(folders, cores):
        found = measure(line, seconds)
        rows.append(
            f"| {manifest.read(line.folder).precision} | {line.processes} x {line.cores_each} | {line.depth} | {line.tokens}"
            f" | {found.documents_per_second:.0f} | {found.p50_ms:.0f} | {found.p95_ms:.0f} | {found.requests} |"
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def main() -> None:
    """Measure, then print or write the table."""
    parser = argparse.ArgumentParser(description="Measure documents a second and p95 on this machine.")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        required=True,
        metavar="FOLDER_OR_NAME",
        help="can be given several times, once for each precision",
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds for each line")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    chosen = parser.parse_args()
    current = settings.load()
    text = table([store.folder_of(model, current) for model in chosen.model], chosen.seconds)
    if chosen.write:
        fill(PAGE, BEGIN, END, text)
        print(
            "now update the pages that use the table: python -m docs.hardware, python -m docs.write_readme --without-answer",
            file=sys.stderr,
        )
    else:
        print(text)


if __name__ == "__main__":
    main()
