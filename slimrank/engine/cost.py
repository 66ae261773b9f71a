"""Estimate what scoring costs: a line through measured times, learnt in warm-up and from every job after it.

Admission uses it to estimate waits from characters, and the engine to plan slices from tokens. This module imports neither.
"""

from collections.abc import Sequence
from itertools import accumulate

_FORGETS = 0.1
"""The weight of a new observation: it replaces this share of all that was learnt before."""


class Speed:
    """The time of one model, ``fixed + slope * cost`` seconds, fitted by least squares in which old observations count less."""

    def __init__(self) -> None:
        self._count = self._cost = self._seconds = self._cost_cost = self._cost_seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Return whether at least one observation was learnt."""
        return self._count > 0

    def seconds(self, cost: float) -> float:
        """Return the estimated time of a job; 0 before the first observation."""
        if not self._count:
            return 0.0
        mean_cost, mean_seconds = self._cost / self._count, self._seconds / self._count
        spread = self._cost_cost / self._count - mean_cost**2
        slope = steepest = mean_seconds / max(mean_cost, 1.0)
        if spread > 0.01 * mean_cost**2:  # else the jobs were too alike to tell the parts from each other
            slope = (self._cost_seconds / self._count - mean_cost * mean_seconds) / spread
        # Neither part of a time can be negative.
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
    """Estimate the seconds for documents from their tokens when several lanes score in parallel.

    Args:
        lanes: The number of lanes. A document is scored in one lane, so one document alone takes as long as one document in each lane.
    """

    def __init__(self, lanes: int = 1) -> None:
        super().__init__()
        self.lanes = lanes

    def work(self, tokens: Sequence[int]) -> list[int]:
        """Return the cost of the first document, of the first two, and so on to all, in tokens with all lanes busy."""
        totals, longests = accumulate(tokens), accumulate(tokens, max)
        return [max(total, self.lanes * longest) for total, longest in zip(totals, longests, strict=True)]

    def learn_documents(self, tokens: Sequence[int], seconds: float) -> None:
        """Learn from documents that were scored together."""
        self.learn(self.work(tokens)[-1], seconds)
