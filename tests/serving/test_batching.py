"""Every document is in one batch, no batch passes its budget, and little is padded."""

from hypothesis import given
from hypothesis import strategies as st

from slimrank.serving.batching import token_budget_batches


@given(st.lists(st.integers(1, 600), max_size=200), st.integers(64, 4096))
def test_each_document_is_in_exactly_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


def test_neighbours_in_length_share_a_batch_and_the_longest_come_first() -> None:
    assert list(token_budget_batches([10, 100, 11, 99], 200)) == [[1, 3], [2, 0]]


def test_no_documents_make_no_batch() -> None:
    assert list(token_budget_batches([], 100)) == []
