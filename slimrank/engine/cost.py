"""What scoring costs: a line through what was timed, learnt in warm-up and from every job after it.

Admission estimates waits by it, from characters; the engine plans slices by it, from tokens. Knows neither of them.
"""

from collections.abc import Sequence
from itertools import accumulate

_FORGETS = 0.1
"""Part of all that is known which one more observation takes the place of."""


class Speed:
    """How long one model takes: ``fixed + slope * cost`` seconds, by least squares that forget."""

    def __init__(self) -> None:
        self._count = self._cost = self._seconds = self._cost_cost = self._cost_seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Whether anything was learnt yet."""
        return self._count > 0

    def seconds(self, cost: float) -> float:
        """Return the estimated time of a job; 0 before the first."""
        if not self._count:
            return 0.0
        mean_cost, mean_seconds = self._cost / self._count, self._seconds / self._count
        spread = self._cost_cost / self._count - mean_cost**2
        slope = steepest = mean_seconds / max(mean_cost, 1.0)
        if spread > 0.01 * mean_cost**2:  # else the jobs were too alike to tell the parts from each other
            slope = (self._cost_seconds / self._count - mean_cost * mean_seconds) / spread
        # Neither part takes less than nothing.
        return mean_seconds + min(steepest, max(0.0, slope)) * (cost - mean_cost)

    def learn(self, cost: float, seconds: float) -> None:
        """Learn from a job that was scored."""
        keep = 1 - _FORGETS
        self._count = keep * self._count + 1
        self._cost = keep * self._cost + cost
        self._seconds = keep * self._seconds + seconds
        self._cost_cost = keep * self._cost_cost + cost * cost
        self._cost_seconds = keep * self._cost_seconds + cost * seconds


class TokenCost(Speed):
    """Seconds for documents by their tokens, where some lanes score side by side.

    Args:
        lanes: How many; a document is scored in one of them, so a single one keeps all from their work as so many would.
    """

    def __init__(self, lanes: int = 1) -> None:
        super().__init__()
        self.lanes = lanes

    def work(self, tokens: Sequence[int]) -> list[int]:
        """Return what the first, the first two, ... all documents cost, in tokens of lanes that are all busy."""
        totals, longests = accumulate(tokens), accumulate(tokens, max)
        return [max(total, self.lanes * longest) for total, longest in zip(totals, longests, strict=True)]

    def learn_documents(self, tokens: Sequence[int], seconds: float) -> None:
        """Learn from documents that were scored together."""
        self.learn(self.work(tokens)[-1], seconds)
