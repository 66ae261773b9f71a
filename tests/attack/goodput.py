"""Goodput of honest callers beside a hostile one, who is a process of its own.

Honest requests come at fixed times, whether those before are answered or not: a caller who waits for one answer before the next
request would ask less often where answers take longer, and a longer wait is not an answer lost.
"""

import contextlib
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, MutableSequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from tests.attack.stage import DOCUMENTS, Stage

MEGABYTE = 2**20
ROUND_SECONDS = 15.0
A_SECOND = 8
"""Honest requests."""
IN_TIME_SECONDS = 2.0
LEFT = 0
"""In place of a status: the hostile caller hung up."""


@dataclass(slots=True)
class Had:
    """What honest callers had."""

    asked: int = 0
    good: int = 0
    """Answered with 200 in time."""
    waits: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Return the part of the requests that was answered in time."""
        return self.good / max(1, self.asked)

    def __str__(self) -> str:
        """Say it in a few words."""
        middle = sorted(self.waits)[len(self.waits) // 2] if self.waits else 0.0
        return f"{self.good} of {self.asked} in time, half within {1000 * middle:.0f} ms"


def measured(stage: Stage, rounds: int) -> tuple[Had, Had, Counter[int]]:
    """Return what honest callers had without and with a hostile one, and how often he had which answer.

    In turns, so that the machine's own load falls on both.
    """
    alone, beside, answers = Had(), Had(), Counter[int]()
    for _ in range(rounds):
        _ask(stage, alone)
        with _hostile(stage, answers):
            _ask(stage, beside)
    if not answers[422] or not answers[LEFT] + answers[200]:
        raise RuntimeError(f"the hostile caller was not let in as he should be, so nothing was measured: {dict(answers)}")
    return alone, beside, answers


def _ask(stage: Stage, had: Had) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {stage.keys['honest']}"}
    with httpx.Client(base_url=stage.gateway, headers=headers, timeout=30, trust_env=False) as client:

        def ask(due: float) -> tuple[bool, float]:
            body = {"query": f"moon {due}", "documents": DOCUMENTS}
            try:
                is_answered = client.post("/v1/rerank", json=body).status_code == 200
            except httpx.HTTPError:
                is_answered = False
            return is_answered, time.monotonic() - due

        begin = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            asked = []
            for number in range(int(A_SECOND * ROUND_SECONDS)):
                due = begin + number / A_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                asked.append(pool.submit(ask, due))
            answers = [one.result() for one in asked]
    had.asked += len(answers)
    had.good += sum(is_answered and seconds <= IN_TIME_SECONDS for is_answered, seconds in answers)
    had.waits += [seconds for _, seconds in answers]


@contextlib.contextmanager
def _hostile(stage: Stage, answers: Counter[int]) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    counts = spawn.RawArray("i", 600)
    caller = spawn.Process(target=attack, args=(stage.gateway, stage.keys["hostile"], counts))
    caller.start()
    try:
        time.sleep(2)  # it has begun
        yield
    finally:
        caller.terminate()
        caller.join()
        answers.update({status: count for status, count in enumerate(counts) if count})


def attack(url: str, key: str, counts: MutableSequence[int]) -> None:
    """Send large, wrong and abandoned requests for ever, one after the other; count the answers by status."""
    many = json.dumps({"query": "q", "documents": [f"document {place}" * 20 for place in range(2000)]}).encode()
    wrong, blank = b'{"query": "q", "documents": [' + b"1," * MEGABYTE + b"1]}", b" " * 20 * MEGABYTE + b"{}"
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        while True:
            for body, seconds in ((many, 1.0), (wrong, 30.0), (blank, 30.0)):
                try:
                    counts[client.post("/v1/rerank", content=body, timeout=seconds).status_code] += 1
                except httpx.HTTPError:  # a caller that hangs up
                    counts[LEFT] += 1
                    time.sleep(0.05)
