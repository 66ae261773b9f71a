"""Time a few batches at start-up: what tokens cost on this machine, and how many make a good batch.

More tokens in a batch hold more memory, and beyond some size buy no speed; where that is depends on the
processor. All lanes run a batch each, as they will. The probe takes a second or two, once: timings are kept beside
the models, by machine and model. Speed alone is fitted; a batch's size changes no score.
"""

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slimrank import cgroups

log = logging.getLogger(__name__)

PROBES = "probes"
"""Folder, within the home folder, of what warm-ups have timed."""
Timings = list[tuple[int, float]]
"""Tokens of a batch, and the seconds it took."""

SIZES = (128, 256, 512, 1024, 2048)
GPU_SIZES = (*SIZES, 4096, 8192, 16_384, 32_768)
"""A GPU's cores are filled later."""
PROBE_SECONDS = 0.25
"""After a batch that took this long, no larger one is tried."""
ROUNDS = 2
"""Sizes take turns, and the best time of each counts: other work on the machine only ever makes one slower."""
ROW_TOKENS = 128
TELLING = 2
"""Sizes that must have been timed; fewer mean that the machine was busy with something else, or is very slow."""
GOOD_ENOUGH = 1.05
"""The smallest batch is taken whose tokens cost at most so many times the cheapest: what more would bring is memory."""
LEAST_BUDGET = 512
"""The smallest budget that a probe may choose: one long pair fills it, and smaller batches were never faster (docs/log/engine.md)."""
BYTES_PER_TOKEN = 100_000
"""Memory of a batch for each token: about the peak of a model with 135M parameters (docs/log/engine.md)."""
MEMORY_SHARE = 0.25


def timings(
    run: Callable[[int, int], None],
    *,
    sizes: Sequence[int] = SIZES,
    largest: int = SIZES[-1],
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Return what batches of growing size take.

    Args:
        run: Scores a batch of so many rows of so many tokens.
        sizes: Tokens of the batches to try, growing.
        largest: Most tokens of a batch that memory allows.
    """

    def seconds(size: int) -> float:
        begin = clock()
        run(size // ROW_TOKENS, ROW_TOKENS)
        return clock() - begin

    best: dict[int, float] = {}
    run(1, sizes[0])  # the first run pays for first-time work
    for size in sizes:
        if best and (size > largest or max(best.values()) > PROBE_SECONDS):
            break
        best[size] = seconds(size)
    for _ in range(ROUNDS - 1):
        best = {size: min(known, seconds(size)) for size, known in best.items()}
    return list(best.items())


def is_telling(found: Sequence[tuple[int, float]]) -> bool:
    """Return whether enough sizes were timed to choose one and to keep the result."""
    return len(found) >= TELLING


def best_budget(found: Sequence[tuple[int, float]]) -> int:
    """Return the batch size, in tokens, that these timings speak for; they must be telling."""
    cheapest = min(seconds / tokens for tokens, seconds in found)
    return max(LEAST_BUDGET, min(tokens for tokens, seconds in found if seconds / tokens <= GOOD_ENOUGH * cheapest))


def memory_tokens() -> int:
    """Return the most tokens of a batch that a share of the free memory holds."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not told on this platform
        return SIZES[-1]
    free = min(free, cgroups.memory_limit() or free)
    return max(SIZES[0], int(MEMORY_SHARE * free / BYTES_PER_TOKEN))


def probe_file(folder: Path, *model: object) -> Path:
    """Return where the timings of this machine and model are kept."""
    machine = [platform.node(), platform.machine(), os.cpu_count(), ROUNDS, *model]
    return folder / f"{hashlib.sha256(json.dumps(machine, default=str).encode()).hexdigest()[:16]}.json"


def kept(file: Path | None) -> Timings | None:
    """Return timings kept earlier, or None."""
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file else None
        return [(int(tokens), float(seconds)) for tokens, seconds in content] if content else None
    except (OSError, ValueError, TypeError):
        return None


def keep(file: Path | None, found: Timings) -> None:
    """Keep timings for the next start; a folder that cannot be written is no failure."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    except OSError as error:
        log.info("probe not kept file=%s error=%s", file, type(error).__name__)
