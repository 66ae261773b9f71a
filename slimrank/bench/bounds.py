"""``slimrank bench --memory`` and ``--determinism``: what the engine must never do.

Memory: resident size over many mixed requests, and the peak that a hundred documents of 8,000
tokens cause. Determinism: how far a document's score moves with its neighbours, its place, the
batch size and the prefix cache. Requests are paragraphs of Python's documentation.

Measures the scorer as it is served, in this process; knows nothing of HTTP or queues.
"""

import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from slimrank import settings as process_settings
from slimrank.engine.loading import open_engine

LONG_DOCUMENTS = 100
LONG_TOKENS = 8000
SAMPLES = 10
BUDGETS = (256, 512, 1024, 4096)
QUERY = "how does a context manager release its resource"


def measure_memory(folder: Path, *, requests: int, most_documents: int, threads: int, seed: int) -> dict[str, Any]:
    """Return resident bytes while mixed requests pass, and the peak of one very large request.

    Args:
        requests: How many mixed requests, of 1 to ``most_documents`` documents of 10 to 3,000 characters.
    """
    chance = random.Random(seed)
    paragraphs = _paragraphs()
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
        # The first tenth fills caches that are bounded; what comes after must not add up.
        "growth_bytes": sizes[-1] - sizes[0],
        "long_request": {
            "documents": LONG_DOCUMENTS,
            "characters": len(long),
            "before_bytes": before,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
    }


def measure_determinism(folder: Path, *, rounds: int, threads: int, seed: int, documents: int = 24) -> dict[str, Any]:
    """Return how far scores move between random batch compositions.

    Args:
        rounds: Compositions: other documents beside it, another order, another batch size, a cold or warm prefix.
    """
    chance = random.Random(seed)
    texts = chance.sample(_paragraphs(), documents)
    scorer = open_engine(process_settings.load(), folder, threads=threads)
    alone = np.concatenate([scorer.score(QUERY, [text]).scores for text in texts])
    worst = 0.0
    for _ in track(range(rounds), description="rounds", console=Console(stderr=True)):
        chosen = chance.sample(range(documents), chance.randint(1, documents))
        fresh = scorer.with_budget(chance.choice(BUDGETS))
        found = fresh.score(QUERY, [texts[place] for place in chosen]).scores
        worst = max(worst, float(np.abs(found - alone[chosen]).max()))
    return {
        "model": scorer.manifest.name,
        "precision": scorer.manifest.precision,
        "rounds": rounds,
        "documents": documents,
        "seed": seed,
        "spread_of_scores": float(alone.std()),
        "largest_difference": worst,
    }


def _paragraphs() -> list[str]:
    from pydoc_data.topics import topics

    return [text for topic in topics.values() for text in topic.split("\n\n") if len(text) > 80]


def _resident() -> int:
    """Return the bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
