"""The time cells of ``slimrank frontier``: how long one request takes under each setting, on the machine at hand.

Documents are made up of words, twice as long as the cut, so that each is cut, and to just so many tokens or, in its best window, to
whole sentences. Every request has a query and documents of its own, so that nothing is known already. Settings take turns, all of
them in every round, so that what else the machine does meets all alike; each round is kept.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from slimrank import made_up
from slimrank.frontier import Setting
from slimrank.frontier_cells import keep_times, kept_times
from slimrank.processor import conditions
from slimrank.serving.frontier_quality import Contender, Grid
from slimrank.serving.probe import PROBES
from slimrank.serving.window_scorer import WindowScorer

QUERY_WORDS = 6


def measure_times(
    folder: Path,
    contenders: Sequence[Contender],
    grid: Grid,
    *,
    rounds: int,
    threads: int,
    seed: int,
    home: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Time each setting until it has so many rounds; those that are kept count, if this machine, model and threads are the same.

    Args:
        threads: As given to the models; a part of what times hold for.
        home: Where timings of the engine's warm-up are kept.
    """
    now = conditions()
    keys = {each.name: {"model": each.digest, "machine": now["machine"], "threads": threads} for each in contenders}
    found = {each.name: kept_times(folder, each.name, keys[each.name]) for each in contenders}
    cells = [(each, setting) for each in contenders for setting in grid.settings(each.name)]
    left = [max(0, rounds - len(found[each.name].get(setting, []))) for each, setting in cells]
    for each in {id(each): each for (each, _), wanted in zip(cells, left, strict=True) if wanted}.values():
        _warm_up(each, home)
    done, chance = 0, random.Random(seed)
    for turn in range(rounds):
        for (each, setting), wanted in zip(cells, left, strict=True):
            if turn < wanted:
                found[each.name].setdefault(setting, []).append(_milliseconds(each, setting, chance))
                done += 1
                progress(done, sum(left))
        for each in contenders if any(turn < wanted for wanted in left) else ():
            keep_times(folder, each.name, keys[each.name] | now, found[each.name])


def _warm_up(contender: Contender, home: Path) -> None:
    warm_up: Any = getattr(contender.reranker.scorer, "warm_up", None)
    if warm_up is not None:
        warm_up(home / PROBES)


def _milliseconds(contender: Contender, setting: Setting, chance: random.Random) -> float:
    reranker = contender.reranker
    scorer = WindowScorer(reranker.scorer, reranker.encoder("frontier"), setting.window, max_tokens=setting.tokens)
    query, documents = made_up.query(chance, QUERY_WORDS), made_up.documents(chance, setting.hits, 2 * setting.tokens)
    begin = perf_counter()
    scorer.score(query, documents)
    return 1000 * (perf_counter() - begin)
