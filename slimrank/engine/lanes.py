"""Runs of the graph side by side, one a core: batches need nothing of each other, so no core waits for another.

Cores that share one run meet after every node of the graph, hundreds of times, and wait there for the slowest. Here each core takes
the next batch when it is done with one. What it costs: a single document has a single core. Used by several requests at once, the
lanes are shared, never more of them busy than there are cores. Knows nothing of models.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")


class Lanes:
    """Threads that share the batches of a job: each thread takes the next batch.

    Args:
        count: How many runs go side by side; with one, the caller's own thread runs them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="lane") if count > 1 else None

    def each(self, run: Callable[[Batch], None], batches: Sequence[Batch]) -> None:
        """Run every batch, begun in this order; return when all are done. The first error that a run raises is the caller's."""
        if self._threads is None:
            for batch in batches:
                run(batch)
            return
        for _ in self._threads.map(run, batches):
            pass
