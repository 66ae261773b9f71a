"""The contract of an exported graph: names and shapes of what goes in and comes out.

Export makes graphs that take these feeds and serving runs them; both come here, so that what was
verified is what is served. Numpy only: whoever has a session hands its ``run`` in.

Rows of a batch share a prefix, whose keys and values were computed once a request and are one
array (2 x layers, key_value_heads, P, head_size), keys and values of a layer beside each other.
Padding is on the right, where no real token looks: attention is causal.

The *plain* graph is Optimum's text-generation-with-past with a head of two rows:

    input_ids (B, L), position_ids (B, L), attention_mask (B, P + L),
    past_key_values.I.key / .value (B, key_value_heads, P, head_size)
    -> logits (B, L, 2), present.I.key / .value

The *fused* graph is ours, for the Llama family:

    input_ids (B, L), prefix (2 x layers, key_value_heads, P, head_size), answer_slots (B,) as
    places in the flattened (B x L) tokens, keep (1,) = how many leading tokens' keys and values
    are wanted
    -> logits (B, 2), keys_values (2 x layers, key_value_heads, keep, head_size)

L is at least ``LEAST_LENGTH`` there: attention goes in so many chunks, none of them empty.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slimrank.manifest import Architecture

Feed = dict[str, npt.NDArray[np.generic]]
KeysValues = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
Rows = Sequence[Sequence[int]]
Run = Callable[[list[str], Feed], list[npt.NDArray[np.float32]]]
"""Runs a graph: names of outputs, feed -> those outputs."""

INPUT_IDS = "input_ids"
LOGITS = "logits"
PREFIX = "prefix"
ANSWER_SLOTS = "answer_slots"
KEEP = "keep"
KEYS_VALUES = "keys_values"
LEAST_LENGTH = 4


class Graph(Protocol):
    """An open graph that scores rows after a prefix computed once."""

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, which may have no tokens; with those that it follows in front."""
        ...

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits at each row's last token, in the order irrelevant, relevant."""
        ...


def open_graph(input_names: Collection[str], architecture: Architecture, run: Run) -> Graph:
    """Return the graph that has these inputs."""
    return FusedGraph(architecture, run) if PREFIX in input_names else PlainGraph(architecture, run)


class FusedGraph:
    """Our own graph: the prefix at batch 1, only answer slots out."""

    def __init__(self, architecture: Architecture, run: Run) -> None:
        self._run = run
        self._nothing = _no_tokens(architecture)

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, behind those that it follows."""
        after = self._nothing if after is None else after
        if not prefix_ids:
            return after
        feed = self._feed([prefix_ids], after, keep=after.shape[2] + len(prefix_ids))
        return self._run([KEYS_VALUES], feed)[0]

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits at each row's last token."""
        return self._run([LOGITS], self._feed(rows, shared, keep=0))[0]

    def _feed(self, rows: Rows, shared: KeysValues, *, keep: int) -> Feed:
        ids = _padded(rows, LEAST_LENGTH)
        slots = np.array([place * ids.shape[1] + len(row) - 1 for place, row in enumerate(rows)], dtype=np.int64)
        return {INPUT_IDS: ids, PREFIX: shared, ANSWER_SLOTS: slots, KEEP: np.array([keep], dtype=np.int64)}


class PlainGraph:
    """Optimum's graph: the prefix is copied for every row, logits come at every position."""

    def __init__(self, architecture: Architecture, run: Run) -> None:
        self._run = run
        self._nothing = _no_tokens(architecture)
        kinds = [f"{layer}.{kind}" for layer in range(architecture.layers) for kind in ("key", "value")]
        self._past = [f"past_key_values.{kind}" for kind in kinds]
        self._present = [f"present.{kind}" for kind in kinds]

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, behind those that it follows."""
        after = self._nothing if after is None else after
        if not prefix_ids:
            return after
        return np.concatenate(self._run(self._present, self._feed([prefix_ids], after)))

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits at each row's last token."""
        (everywhere,) = self._run([LOGITS], self._feed(rows, shared))
        slots: Logits = everywhere[np.arange(len(rows)), [len(row) - 1 for row in rows]]
        return slots

    def _feed(self, rows: Rows, shared: KeysValues) -> Feed:
        ids = _padded(rows)
        before = shared.shape[2]
        lengths = np.array([[len(row)] for row in rows])
        feed: Feed = {
            INPUT_IDS: ids,
            "attention_mask": (np.arange(before + ids.shape[1]) < before + lengths).astype(np.int64),
            "position_ids": np.tile(np.arange(before, before + ids.shape[1], dtype=np.int64), (len(rows), 1)),
        }
        for name, part in zip(self._past, shared, strict=True):
            feed[name] = np.tile(part, (len(rows), 1, 1, 1))
        return feed


def _no_tokens(architecture: Architecture) -> KeysValues:
    return np.zeros((2 * architecture.layers, architecture.key_value_heads, 0, architecture.head_size), dtype=np.float32)


def _padded(rows: Rows, least: int = 1) -> npt.NDArray[np.int64]:
    """Return (B, L) ids, padded on the right; L is at least ``least``."""
    ids = np.zeros((len(rows), max(least, *(len(row) for row in rows))), dtype=np.int64)
    for row, target in zip(rows, ids, strict=True):
        target[: len(row)] = row
    return ids
