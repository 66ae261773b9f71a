"""Mixed load with callers who hang up, or with one who is hostile: what the others have of it. Real processes; not a test.

    python -m tests.serving.mixed abandoned --minutes 10    one caller in five hangs up, on requests of a second's work and more
    python -m tests.serving.mixed hostile --minutes 10      one key asks for 10,000 documents, four at a time, as fast as it may
    python -m tests.serving.mixed hostile --seconds 60      the same, shorter

Redis, a worker whose model sleeps two milliseconds a document, and a gateway with keys are started. Four keys ask at random times,
together for --share of what the worker can do. Stretches with the trouble and without take turns, so that what else the machine does
hits both alike. The worker writes down what it worked on and when, so that what it did for a request whose caller had left is known to
the millisecond. Prints one JSON object; exit code 1 where the others lose more than a tenth of their goodput, or where the worker
spent more than --slices slices on any request whose caller had left: so long anybody may have waited for it.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from slimrank.engine.slices import SLICE_SECONDS, TAIL
from slimrank.serving.gateway.keys import new_key
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker
from tests.serving.runs import AfterLeaving, after_leaving

DOCUMENT_SECONDS = 0.002
SIZES = (5, 10, 20, 50)
DEAD_SIZE = 1000
HOSTILE_SIZE = 10_000
HOSTILE_CALLERS = 4
DEADLINE_MS = 3000
STRETCH_SECONDS = 15.0
LEAST_GOODPUT = 0.9


@dataclass
class Tally:
    """What the polite callers had of one kind of stretch."""

    sent: int = 0
    good: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    queue_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def report(self) -> dict[str, Any]:
        """Return the figures."""
        goodput = self.good / max(self.seconds, 1e-9)
        return {
            "seconds": round(self.seconds, 1),
            "sent": self.sent,
            "good": self.good,
            "good_share": round(self.good / max(1, self.sent), 4),
            "goodput": round(goodput, 2),
            "statuses": self.statuses,
            **{f"queue_ms_{name}": _part(self.queue_ms, part) for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))},
            **{f"total_ms_{name}": _part(self.total_ms, part) for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))},
        }


def _part(values: list[float], part: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(part * len(values)))], 1) if values else 0.0


@dataclass
class Callers:
    """Those who ask, over one client."""

    http: httpx.AsyncClient
    keys: dict[str, str]
    chance: random.Random
    left: dict[str, float] = field(default_factory=dict)
    """When whoever asked a query hung up, by the machine's monotonic clock."""

    def body(self, size: int) -> dict[str, Any]:
        """Return a request of so many documents, none of them asked about before."""
        mark = self.chance.getrandbits(64)
        return {
            "query": f"lead pipe {mark}",
            "documents": [f"document {mark} {place}" for place in range(size)],
            "deadline_ms": DEADLINE_MS,
        }

    async def post(self, key: str, body: dict[str, Any]) -> httpx.Response:
        """Ask under a key."""
        return await self.http.post("/v1/rerank", json=body, headers={"authorization": f"Bearer {self.keys[key]}"})

    async def polite(self, key: str, tally: Tally) -> None:
        """Ask once, and count a full answer in time as good."""
        size = self.chance.choice(SIZES)
        tally.sent += 1
        begin = time.monotonic()
        answer = await self.post(key, self.body(size))
        took = 1000 * (time.monotonic() - begin)
        tally.statuses[answer.status_code] = tally.statuses.get(answer.status_code, 0) + 1
        if answer.status_code == 200:
            tally.queue_ms.append(float(answer.headers["x-queue-time"]))
            tally.total_ms.append(took)
            tally.good += took <= DEADLINE_MS and answer.json()["meta"]["scored_documents"] == size

    async def dead(self, key: str) -> None:
        """Ask for much, and hang up soon."""
        body = self.body(DEAD_SIZE) | {"deadline_ms": 60_000}
        try:
            async with asyncio.timeout(self.chance.uniform(0.05, 0.6)):
                await self.post(key, body)
        except TimeoutError:
            self.left[body["query"]] = time.monotonic()
        except httpx.HTTPError:
            pass


def hostile(url: str, key: str) -> None:
    """Ask for as much as may be asked, for ever; in a process of its own, so that it takes nothing from those who measure."""
    # Made once: two cores that are shared with the gateway tell of what it does, and not of what making bodies takes.
    documents = json.dumps([f"document {place}" for place in range(HOSTILE_SIZE)])
    chance = random.Random()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with httpx.Client(base_url=url, timeout=70, headers=headers) as client:
        while True:
            body = f'{{"query": "lead pipe {chance.getrandbits(64)}", "deadline_ms": 60000, "documents": {documents}}}'
            with contextlib.suppress(httpx.HTTPError):
                if client.post("/v1/rerank", content=body).status_code != 200:
                    time.sleep(0.05)


async def stretch(callers: Callers, tally: Tally, rate: float, seconds: float, *, dead_share: float) -> None:
    """Let polite callers ask at random times; with ``dead_share``, as many more hang up."""
    begin, tasks = time.monotonic(), set[asyncio.Task[None]]()
    names = [name for name in callers.keys if name != "hostile"]
    due = begin
    while (due := due + callers.chance.expovariate(rate)) < begin + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.add(asyncio.create_task(callers.polite(callers.chance.choice(names), tally)))
        if callers.chance.random() < dead_share:
            tasks.add(asyncio.create_task(callers.dead(callers.chance.choice(names))))
    await asyncio.gather(*tasks)
    tally.seconds += time.monotonic() - begin


@contextlib.asynccontextmanager
async def trouble(callers: Callers, kind: str) -> AsyncIterator[float]:
    """Make trouble of a kind; yield how many of the callers hang up beside those who wait."""
    spawn = multiprocessing.get_context("spawn")
    count = HOSTILE_CALLERS if kind == "hostile" else 0
    others = [spawn.Process(target=hostile, args=(str(callers.http.base_url), callers.keys["hostile"])) for _ in range(count)]
    for other in others:
        other.start()
    try:
        await asyncio.sleep(3)
        yield 0.25 if kind == "abandoned" else 0.0
    finally:
        for other in others:
            other.terminate()
            other.join()
        await asyncio.sleep(3)


async def run(
    url: str, keys: dict[str, str], runs: Path, kind: str, *, seconds: float, share: float, seed: int
) -> dict[str, Any]:
    """Return the figures of stretches with and without trouble.

    Args:
        runs: Where the worker writes down what it does.
    """
    rate = share / (DOCUMENT_SECONDS * sum(SIZES) / len(SIZES))
    with_trouble, without = Tally(), Tally()
    async with httpx.AsyncClient(base_url=url, timeout=70, limits=httpx.Limits(max_connections=None)) as http:
        callers = Callers(http, keys, random.Random(seed))
        await stretch(callers, Tally(), rate, 3.0, dead_share=0.0)  # the cost is learnt
        pairs = max(1, round(seconds / (2 * STRETCH_SECONDS)))
        for _ in range(pairs):
            await stretch(callers, without, rate, min(STRETCH_SECONDS, seconds / 2), dead_share=0.0)
            async with trouble(callers, kind) as dead_share:
                await stretch(callers, with_trouble, rate, min(STRETCH_SECONDS, seconds / 2), dead_share=dead_share)
    good = with_trouble.report(), without.report()
    ratio = (good[0]["good_share"] / good[1]["good_share"]) if good[1]["good_share"] else 0.0
    return {
        "kind": kind, "offered_share": share, "rate": round(rate, 1), "with": good[0], "without": good[1],
        "goodput_ratio": round(ratio, 4), "dead": _dead(after_leaving(runs.read_text().splitlines(), callers.left), callers.left),
    }  # fmt: skip


def _dead(works: list[AfterLeaving], left: dict[str, float]) -> dict[str, Any]:
    """Return what was spent on requests whose callers had left."""
    spent = [1000 * work.seconds for work in works]
    return {
        "left": len(left),
        "worked_on": len(works),
        "worked_on_after": sum(work.seconds > 0 for work in works),
        "slices_begun_after_max": max((work.begun for work in works), default=0),
        **{f"ms_after_{name}": _part(spent, part) for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))},
        "slices_after_max": round(max(spent, default=0.0) / (1000 * TAIL * SLICE_SECONDS), 2),
    }


def main() -> None:
    """Run and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["abandoned", "hostile"])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--share", type=float, default=0.4, help="of what the worker can do, offered by the polite callers")
    parser.add_argument("--slices", type=float, default=1.0, help="of work that a request may get after its caller left")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rate",
        type=float,
        default=6000,
        help="requests a minute that every key may ask, of which a hostile one is a hundred; 0: any number",
    )
    options = parser.parse_args()
    made = {name: new_key(name) for name in ("one", "two", "three", "four", "hostile")}
    with tempfile.TemporaryDirectory() as folder, running_redis() as redis_url:
        file = Path(folder) / "keys.json"
        entries = [entry.model_copy(update={"requests_per_minute": options.rate or None}) for _, entry in made.values()]
        file.write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for entry in entries]}), encoding="utf-8")
        with (
            worker(redis_url=redis_url, fake_document_seconds=DOCUMENT_SECONDS, fake_runs=(runs := Path(folder) / "runs")),
            gateway(redis_url=redis_url, api_keys_file=file) as url,
        ):
            keys = {name: key for name, (key, _) in made.items()}
            seconds = options.seconds or 60 * options.minutes
            report = asyncio.run(run(url, keys, runs, options.kind, seconds=seconds, share=options.share, seed=options.seed))
    print(json.dumps(report, indent=1))
    holds = report["goodput_ratio"] >= LEAST_GOODPUT
    if options.kind == "abandoned":
        holds &= report["dead"]["worked_on_after"] > 0  # else nothing was shown
        holds &= report["dead"]["slices_after_max"] <= options.slices
    sys.exit(not holds)


if __name__ == "__main__":
    main()
