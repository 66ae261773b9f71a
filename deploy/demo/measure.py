"""Measure the gain over all judged questions of the demo, and store it; the demo shows it:

    python -m deploy.demo.measure

This takes a few minutes on two cores. Run it again when the shipped adapter, the questions or the judgments change.
"""

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track

from deploy.demo.cli import compare, read_library
from deploy.demo.figures import FIGURES_FILE, Figures
from slimrank import manifest as manifests
from slimrank import settings, store
from slimrank.adapters import ADAPTER_HASH_KEY
from slimrank.engine.reranker import Reranker
from slimrank.evaluation.evaluate import paired_gain

DEPTH = 10


def measure() -> Figures:
    """Rerank BM25's hits of every judged question with the default model."""
    current = settings.load()
    folder = store.model_folder(current)
    manifest = manifests.check(folder)
    reranker = Reranker.load(folder, threads=current.threads)
    before, after = dict[str, float](), dict[str, float]()
    with tempfile.TemporaryDirectory() as scratch:
        collection, index = read_library(Path(scratch) / "library")
        for query_id, text in track(collection.queries.items(), description="questions", console=Console(stderr=True)):
            ndcg = compare(collection, index, reranker, text, DEPTH).ndcg_at_10()
            if ndcg is not None:
                before[query_id], after[query_id] = ndcg
    gain = paired_gain(before, after)
    moves = [after[query_id] - before[query_id] for query_id in before]
    return Figures(
        adapter_sha256=manifest.made_with[ADAPTER_HASH_KEY],
        precision=manifest.precision,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        depth=DEPTH,
        questions=len(before),
        before=round(sum(before.values()) / len(before), 4),
        after=round(sum(after.values()) / len(after), 4),
        low=round(gain.low, 4),
        high=round(gain.high, 4),
        better=sum(move > 0 for move in moves),
        worse=sum(move < 0 for move in moves),
    )


if __name__ == "__main__":
    found = measure()
    FIGURES_FILE.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print(found.sentence())
