"""Work is shared among cores, and the longest pieces begin first."""

import torch

from onnx_export.cores import side_by_side


def test_the_longest_pieces_begin_first_and_results_keep_the_given_order() -> None:
    begun = list[int]()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the first piece ends first
    try:
        found = side_by_side(lambda piece: begun.append(piece) or -piece, [3, 9, 1, 9, 5], size=lambda piece: piece)
    finally:
        torch.set_num_threads(cores)
    assert found == [-3, -9, -1, -9, -5]
    assert begun == [9, 9, 5, 3, 1]


def test_each_finished_piece_is_counted_and_the_number_of_threads_is_restored() -> None:
    ticks = list[int]()
    cores = torch.get_num_threads()
    side_by_side(lambda piece: torch.get_num_threads(), [1, 2, 3], lambda: ticks.append(1))
    assert len(ticks) == 3
    assert torch.get_num_threads() == cores
