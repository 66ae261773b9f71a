"""``slimrank bench determinism``: how far the score of a document moves between batches.

A score should not depend on the documents beside it, on their order, on the size of the batch, or on whether the query's prefix
is in the cache. Documents are paragraphs of Python's documentation, and the scorer runs in this process.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from slimrank import settings as process_settings
from slimrank.bench.pairs import python_paragraphs
from slimrank.engine.loading import open_engine

BUDGETS = (256, 512, 1024, 4096)
"""Tokens of a batch that are tried."""
QUERY = "how does a context manager release its resource"


def measure_determinism(folder: Path, *, rounds: int, threads: int, seed: int, documents: int = 24) -> dict[str, Any]:
    """Return how far scores move between random batches.

    Args:
        rounds: Number of batches: each has other documents, another order, another size, and a cold or a warm prefix.
    """
    chance = random.Random(seed)
    texts = chance.sample(python_paragraphs(), documents)
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
