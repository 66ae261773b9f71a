"""Work shared among cores: a piece a core, with one thread each."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    tick: Callable[[], None] = lambda: None,
    *,
    size: Callable[[Piece], int] = lambda _: 0,
) -> list[Result]:
    """Return what ``work`` says of each piece, in their order; ``tick`` is called as each is done.

    Args:
        size: How long a piece takes, in any unit. The longest are begun first, so that no core is left with a long one at the end.

    Threads that share one product wait for each other at every step: on a machine with other work that was most of the time
    (155 s to score the pairs with a model of two layers; rounding one product took ten times the processor time).
    """

    def counted(piece: Piece) -> Result:
        result = work(piece)
        tick()
        return result

    order = sorted(range(len(pieces)), key=lambda place: -size(pieces[place]))
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            found = dict(zip(order, pool.map(counted, [pieces[place] for place in order]), strict=True))
            return [found[place] for place in range(len(pieces))]
    finally:
        torch.set_num_threads(cores)
