"""The time cells of ``slimrank frontier``: how long one request takes under each setting, on the machine at hand.

A document is cut to just so many tokens or, in its best window, to whole sentences; ``slimrank.evaluation.frontier_turns`` has the rest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slimrank.engine.probe import PROBES
from slimrank.engine.window_scorer import WindowScorer
from slimrank.evaluation.frontier import Setting
from slimrank.evaluation.frontier_turns import Answer, Cell, take_turns
from slimrank.trials.quality import Contender, Grid


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
    """Time the missing settings of each model, all models in turns.

    Args:
        threads: As given to the models; a part of what times hold for.
        home: Where timings of the engine's warm-up are kept.
    """
    by_name = {each.name: each for each in contenders}

    def warm_up(name: str) -> None:
        warm: Any = getattr(by_name[name].reranker.scorer, "warm_up", None)
        if warm is not None:
            warm(home / PROBES)

    cells = [Cell(name, setting, _opened(each, setting)) for name, each in by_name.items() for setting in grid.settings(name)]
    digests = {name: each.digest for name, each in by_name.items()}
    take_turns(folder, cells, digests, rounds=rounds, threads=threads, seed=seed, warm_up=warm_up, progress=progress)


def _opened(contender: Contender, setting: Setting) -> Callable[[], Answer]:
    def opened() -> Answer:
        reranker = contender.reranker
        return WindowScorer(reranker.scorer, reranker.encoder("frontier"), setting.window, max_tokens=setting.tokens).score

    return opened
