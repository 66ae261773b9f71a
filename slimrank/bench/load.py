"""``slimrank bench load``: requests to a gateway at a stated rate.

A request is sent when it is due, even if earlier requests have no answer yet (an open loop), so that a gateway that falls behind
shows it. Every answer is checked: it must hold each document exactly once, and at each index the text that was sent. This file
knows HTTP only, and nothing of how a gateway works.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from slimrank.errors import ModelNotReady

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


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that holds documents."""

    answer_id: str
    kind: Literal["full", "partial", "degraded"]
    documents: int
    seconds: float
    is_right: bool
    is_late: bool
    """The answer came after its deadline."""


@dataclass(slots=True)
class Tally:
    """The answers to all requests, and what happened to requests without one."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Number of requests without an answer, by the kind of error."""
    degraded: Counter[str] = field(default_factory=Counter)
    refused_seconds: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def full(self) -> list[Answer]:
        """Return the answers with every document scored."""
        return [answer for answer in self.answers if answer.kind == "full"]

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the figures; times in milliseconds."""
        answered, full = sum(self.statuses.values()), self.full()
        return {
            "sent": self.sent,
            "answered": answered,
            "lost": self.sent - answered,
            "errors": dict(self.errors),
            "wrong": sum(not answer.is_right for answer in self.answers),
            "twice": len(self.answers) - len({answer.answer_id for answer in self.answers}),
            "documents": sum(answer.documents for answer in full),
            "offered_per_second": round(self.sent / seconds, 2),
            "goodput_per_second": round(sum(not answer.is_late for answer in full) / seconds, 2),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "degraded": dict(self.degraded),
            "partial": sum(answer.kind == "partial" for answer in self.answers),
            "full_ms": percentiles([answer.seconds for answer in full]),
            "refused_ms": percentiles(self.refused_seconds),
        }


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent: to which gateway, how often, how long, and how large."""

    url: str
    rate: float
    seconds: float
    sizes: Sequence[int]
    characters: int
    deadline_ms: int
    on_failure: str
    seed: int


async def load(plan: LoadPlan) -> dict[str, Any]:
    """Send the requests of a plan, and return the figures of their answers.

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
    reason = answer.headers.get("x-slimrank-degraded")
    if answer.status_code != 200 or reason:
        tally.refused_seconds.append(taken)
    if answer.status_code != 200:
        return
    if reason:
        tally.degraded[reason] += 1
    found, documents = answer.json(), body["documents"]
    kind: Literal["full", "partial", "degraded"] = "full"
    if reason:
        kind = "degraded"
    elif "x-slimrank-partial" in answer.headers:
        kind = "partial"
    is_late = taken > body["deadline_ms"] / 1000
    tally.answers.append(Answer(found["id"], kind, len(documents), taken, _is_right(documents, found["results"]), is_late))


def _is_right(documents: list[str], results: list[dict[str, Any]]) -> bool:
    """Tell whether an answer holds each document exactly once, at its own index."""
    places = sorted(result["index"] for result in results)
    return places == list(range(len(documents))) and all(
        result["document"]["text"] == documents[result["index"]] for result in results
    )


class Texts:
    """Documents that are made before the load, so that making them does not slow it down."""

    def __init__(self, chance: random.Random, *, characters: int, count: int) -> None:
        self._chance = chance
        self._documents = [f"{place} {' '.join(chance.choices(WORDS, k=characters // 3))}"[:characters] for place in range(count)]

    def body(self, count: int) -> dict[str, Any]:
        """Return a request with ``count`` documents, all different."""
        return {"query": " ".join(self._chance.choices(WORDS, k=5)), "documents": self._chance.sample(self._documents, count)}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds, each a time that occurred; an empty result if there are no times."""
    ordered = sorted(seconds)
    return {
        f"p{percent}": round(1000 * ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)], 1)
        for percent in (50, 95, 99)
        if ordered
    }
