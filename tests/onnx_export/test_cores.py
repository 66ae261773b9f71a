"""Work is shared among cores, and no core waits for a long piece that another began last."""

import torch

from onnx_export.cores import side_by_side


def test_the_longest_pieces_are_begun_first_and_results_keep_the_order_given() -> None:
    begun = list[int]()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # so that what is begun first ends first
    try:
        found = side_by_side(lambda piece: begun.append(piece) or -piece, [3, 9, 1, 9, 5], size=lambda piece: piece)
    finally:
        torch.set_num_threads(cores)
    assert found == [-3, -9, -1, -9, -5]
    assert begun == [9, 9, 5, 3, 1]


def test_each_piece_that_is_done_is_counted_and_threads_are_given_back() -> None:
    ticks = list[int]()
    cores = torch.get_num_threads()
    side_by_side(lambda piece: torch.get_num_threads(), [1, 2, 3], lambda: ticks.append(1))
    assert len(ticks) == 3
    assert torch.get_num_threads() == cores
