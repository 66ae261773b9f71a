"""Every document is in one batch, no batch passes its budget, and little is padded."""

from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from slimrank.engine.batching import RUN_TOKENS, lane_batches, repeating_batches, token_budget_batches
from slimrank.graph_io import SHAPE_STEP


@given(st.lists(st.integers(1, 600), max_size=200), st.integers(64, 4096))
def test_each_document_is_in_exactly_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_budget_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@given(st.lists(st.integers(1, 512), max_size=200), st.integers(64, 4096))
def test_repeating_shapes_are_few_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = repeating_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    shapes = {(len(batch), max(lengths[index] + -lengths[index] % SHAPE_STEP for index in batch)) for batch in batches}
    assert all(rows & (rows - 1) == 0 and (rows == 1 or rows * length <= budget) for rows, length in shapes)
    assert len(shapes) <= 8 * 7


def test_neighbours_in_length_share_a_batch_and_the_longest_come_first() -> None:
    assert token_budget_batches([10, 100, 11, 99], 200) == [[1, 3], [2, 0]]


def test_no_documents_make_no_batch() -> None:
    assert token_budget_batches([], 100) == []


@given(st.lists(st.integers(1, 40), min_size=1, max_size=7), st.integers(40, 200))
def test_no_other_cut_costs_less_in_padding_and_runs(lengths: list[int], budget: int) -> None:
    ordered = sorted(lengths, reverse=True)

    def cost(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(batch) + RUN_TOKENS for batch in batches)

    def cuts(rest: list[int]) -> Iterator[list[list[int]]]:
        if not rest:
            yield []
        for size in range(1, len(rest) + 1):
            if size == 1 or size * rest[0] <= budget:
                yield from ([rest[:size], *more] for more in cuts(rest[size:]))

    found = [[lengths[index] for index in batch] for batch in token_budget_batches(lengths, budget)]
    assert cost(found) == min(map(cost, cuts(ordered)))


def test_where_a_run_is_dear_fewer_batches_are_made() -> None:
    lengths = [500, 490, 100, 90, 30, 20]
    assert len(token_budget_batches(lengths, 4096)) > len(token_budget_batches(lengths, 4096, run_tokens=1024))
    assert token_budget_batches(lengths, 4096, run_tokens=4096) == [[0, 1, 2, 3, 4, 5]]


def last_end(lengths: list[int], batches: list[list[int]], lanes: int) -> int:
    ends = [0] * lanes
    for batch in batches:
        lane = ends.index(min(ends))
        ends[lane] += len(batch) * max(lengths[index] for index in batch) + RUN_TOKENS
    return max(ends)


@given(st.lists(st.integers(1, 600), max_size=100), st.integers(64, 2048), st.integers(1, 16))
@example(
    [7, 33, 1, 52, 43, 74, 1, 1, 60, 15, 23, 28], 94, 3
)  # here the dearest batch first ends later than the longest document first
def test_lanes_get_every_document_once_within_the_budget_and_end_no_later(lengths: list[int], budget: int, lanes: int) -> None:
    batches = lane_batches(lengths, budget, lanes=lanes)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget for batch in batches)
    plain = token_budget_batches(lengths, budget)
    assert last_end(lengths, batches, lanes) <= last_end(lengths, plain, lanes)
    assert lanes > 1 or batches == plain


def test_lanes_end_together_where_documents_allow() -> None:
    lengths = [70] * 20
    assert last_end(lengths, lane_batches(lengths, 512, lanes=2), 2) == 10 * 70 + 2 * RUN_TOKENS
    assert last_end(lengths, token_budget_batches(lengths, 512), 2) > 13 * 70
    assert len(lane_batches([400, 400, 400], 4096, lanes=8)) == 3, "a document a lane"
