"""Make and time the requests of ``slimrank frontier`` and ``slimrank train baseline``.

Documents are made up of words, twice as long as the cut, so that each is cut. Every request has a query and documents of its own, so
that nothing is known already. Settings take turns, all of them in every round, so that what else the machine does meets all alike;
each round is kept.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from slimrank.evaluation import made_up_texts
from slimrank.evaluation.frontier import Setting
from slimrank.evaluation.frontier_cells import keep_times, kept_times
from slimrank.processor import conditions

QUERY_WORDS = 6
Answer = Callable[[str, list[str]], object]
"""Answers a query over documents."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A setting, and the name of the file that holds its times."""

    name: str
    setting: Setting
    open: Callable[[], Answer]
    """Prepares the function that answers its requests, before the clock starts."""


def request_of(chance: random.Random, hits: int, tokens: int) -> tuple[str, list[str]]:
    """Return a query, and documents that are longer than ``tokens``; no documents if ``tokens`` is 0."""
    return made_up_texts.query(chance, QUERY_WORDS), made_up_texts.documents(chance, hits, 2 * tokens) if tokens else []


def take_turns(
    folder: Path,
    cells: Sequence[Cell],
    digests: Mapping[str, str],
    *,
    rounds: int,
    threads: int,
    seed: int,
    warm_up: Callable[[str], None] = lambda name: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Time each setting until it has so many rounds; those that are kept count, if this machine, model and threads are the same.

    Args:
        digests: Name -> the hash of the model that its times hold for.
        threads: As given to the models; a part of what times hold for.
        warm_up: Called once for each name that is timed, before the first request.
    """
    now = conditions()
    keys = {name: {"model": digest, "machine": now["machine"], "threads": threads} for name, digest in digests.items()}
    found = {name: kept_times(folder, name, keys[name]) for name in digests}
    left = [max(0, rounds - len(found[cell.name].get(cell.setting, []))) for cell in cells]
    timed = list(dict.fromkeys(cell.name for cell, wanted in zip(cells, left, strict=True) if wanted))
    for name in timed:
        warm_up(name)
    done, chance = 0, random.Random(seed)
    for turn in range(max(left, default=0)):
        for cell, wanted in zip(cells, left, strict=True):
            if turn < wanted:
                found[cell.name].setdefault(cell.setting, []).append(_milliseconds(cell, chance))
                done += 1
                progress(done, sum(left))
        for name in timed:
            keep_times(folder, name, keys[name] | now, found[name])


def _milliseconds(cell: Cell, chance: random.Random) -> float:
    query, documents = request_of(chance, cell.setting.hits, cell.setting.tokens)
    answer = cell.open()
    begin = perf_counter()
    answer(query, documents)
    return 1000 * (perf_counter() - begin)
