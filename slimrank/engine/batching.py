"""Cut the documents of a request into batches whose padding wastes little.

Documents are sorted by length, so that neighbours in a batch need little padding, and the cuts
between batches are those of least cost: padded tokens, and a fixed price for each run of the
graph. Where several batches run side by side, they are as many and as small as lets all lanes end together.
For CUDA graphs the cuts are such that few shapes come again and again. Memory is bounded by
tokens, whatever the number of documents. Knows nothing of models; the caller restores the
request's order with the indices it is given.
"""

from collections.abc import Sequence
from heapq import heapreplace
from itertools import groupby
from math import ceil

from slimrank.graph_io import SHAPE_STEP

RUN_TOKENS = 10
"""The fixed cost of a run of the graph, in tokens (docs/log/engine.md): a batch is split if that saves more padding."""
MOST_BATCHES = 4
"""The most batches of a lane when lanes are made to end together: with more, the runs cost more than they save."""
GPU_RUN_TOKENS = 1024
"""The same on a GPU, where every run begins with some hundreds of kernels to launch: an estimate, three milliseconds at a few
hundred thousand tokens a second."""


def repeating_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return the indices of each batch, longest documents first; rows are a power of two, lengths round up to the same step.

    So 512 tokens and a budget of 8,192 make at most some fifty shapes, and no row is there for padding only.

    Args:
        lengths: Tokens of each document.
        max_tokens: Most padded tokens in a batch; a single document may have more.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for length, group in groupby(order, key=lambda i: lengths[i] + -lengths[i] % SHAPE_STEP):
        left = list(group)
        while left:
            most = max(1, min(len(left), max_tokens // length))
            count = 1 << (most.bit_length() - 1)
            batches.append(left[:count])
            left = left[count:]
    return batches


def token_budget_batches(lengths: Sequence[int], max_tokens: int, *, run_tokens: int = RUN_TOKENS) -> list[list[int]]:
    """Return the indices of each batch, longest documents first.

    The longest come first so that the peak of memory is met at once and not at the end.

    Args:
        lengths: Tokens of each document.
        max_tokens: Most padded tokens (documents x longest) in a batch; a single document may
            have more.
        run_tokens: What a run costs beside its tokens, in tokens.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cheapest, begins = [0], [0]  # of the first so many documents: what they cost, and where their last batch begins
    for end in range(1, len(order) + 1):
        best, best_begin = cheapest[end - 1] + lengths[order[end - 1]], end - 1
        for begin in range(end - 2, -1, -1):
            padded = (end - begin) * lengths[order[begin]]
            if padded > max_tokens:
                break
            if cheapest[begin] + padded < best:
                best, best_begin = cheapest[begin] + padded, begin
        cheapest.append(best + run_tokens)
        begins.append(best_begin)
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[begins[end] : end])
        end = begins[end]
    return batches[::-1]


def lane_batches(lengths: Sequence[int], max_tokens: int, *, lanes: int, run_tokens: int = RUN_TOKENS) -> list[list[int]]:
    """Return the indices of each batch, in order, for lanes that each take the next batch when they are free.

    ``token_budget_batches`` cuts with budgets of a lane's whole share, half of it, and so on. The cut and the order of its batches
    are those whose last lane ends first.

    Args:
        lengths: Tokens of each document.
        max_tokens: As there.
        lanes: How many batches run side by side.
        run_tokens: As there.
    """
    if lanes == 1:
        return token_budget_batches(lengths, max_tokens, run_tokens=run_tokens)

    def cost(batch: list[int]) -> int:
        return len(batch) * lengths[batch[0]] + run_tokens

    def last_end(batches: list[list[int]]) -> int:
        ends = [0] * lanes  # alike, so a heap already
        for batch in batches:
            heapreplace(ends, ends[0] + cost(batch))
        return max(ends)

    share = sum(lengths) / lanes
    budgets = {min(max_tokens, ceil(share / parts)) for parts in range(1, MOST_BATCHES + 1)} | {max_tokens}
    cuts = [token_budget_batches(lengths, budget, run_tokens=run_tokens) for budget in sorted(budgets, reverse=True)]
    # The dearest batch first is nearly always the better order. Where it is not, the order of the cut is kept.
    orders = [order for cut in cuts for order in (sorted(cut, key=cost, reverse=True), cut)]
    return min(orders, key=last_end)
