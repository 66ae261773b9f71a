"""Work shared among cores: a piece a core, with one thread each."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], tick: Callable[[], None] = lambda: None
) -> list[Result]:
    """Return what ``work`` says of each piece, in their order; ``tick`` is called as each is done.

    Threads that share one product wait for each other at every step: on a machine with other work that was most of the time
    (155 s to score the pairs with a model of two layers; rounding one product took ten times the processor time).
    """

    def counted(piece: Piece) -> Result:
        result = work(piece)
        tick()
        return result

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            return list(pool.map(counted, pieces))
    finally:
        torch.set_num_threads(cores)
