"""Cut the documents of a request into batches whose padding wastes little.

Documents are sorted by length, so that neighbours in a batch need little padding, and a batch is
closed when one more document would pass the token budget: memory is bounded by tokens, whatever
the number of documents. Knows nothing of models; the caller restores the request's order with the
indices it is given.
"""

from collections.abc import Iterator, Sequence


def token_budget_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of each batch, longest documents first.

    The longest come first so that the peak of memory is met at once and not at the end.

    Args:
        lengths: Tokens of each document.
        max_tokens: Most padded tokens (documents x longest) in a batch; a single document may
            have more.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * longest > max_tokens:
            yield batch
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        yield batch
