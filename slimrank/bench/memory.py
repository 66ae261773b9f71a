"""``slimrank bench memory``: the memory of the engine over many mixed requests, and its peak in one very large request.

Memory that grows with every request would end a worker. Requests are paragraphs of Python's documentation. The scorer runs
in this process as a worker runs it; HTTP and the queue take no part.
"""

import random
import resource
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from slimrank import settings as process_settings
from slimrank.bench.pairs import python_paragraphs
from slimrank.engine.loading import open_engine

LONG_DOCUMENTS = 100
LONG_TOKENS = 8000
SAMPLES = 10


def measure_memory(folder: Path, *, requests: int, most_documents: int, threads: int, seed: int) -> dict[str, Any]:
    """Return resident bytes while mixed requests pass, and the peak of one very large request.

    Args:
        requests: Number of mixed requests, of 1 to ``most_documents`` documents of 10 to 3,000 characters.
    """
    chance = random.Random(seed)
    paragraphs = python_paragraphs()
    scorer = open_engine(process_settings.load(), folder, threads=threads)
    scorer.warm_up()
    sizes: list[int] = []
    for turn in track(range(requests), description="requests", console=Console(stderr=True)):
        count, length = chance.randint(1, most_documents), chance.randint(10, 3000)
        scorer.score(f"{chance.choice(paragraphs)[:80]} {turn}", [chance.choice(paragraphs)[:length] for _ in range(count)])
        if (turn + 1) % max(1, requests // SAMPLES) == 0:
            sizes.append(_resident())
    before = _resident()
    long = " ".join(chance.choices(paragraphs, k=LONG_TOKENS // 80))
    scorer.score("a long request", [f"{place} {long}" for place in range(LONG_DOCUMENTS)])
    return {
        "model": scorer.manifest.name,
        "precision": scorer.manifest.precision,
        "requests": requests,
        "seed": seed,
        "resident_bytes": sizes,
        # The first tenth of the requests fills the caches, which are bounded. After it, memory must not grow.
        "growth_bytes": sizes[-1] - sizes[0],
        "long_request": {
            "documents": LONG_DOCUMENTS,
            "characters": len(long),
            "before_bytes": before,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
    }


def _resident() -> int:
    """Return the bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
