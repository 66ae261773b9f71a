"""The contract of an exported graph: names and shapes of what goes in and comes out.

Export makes graphs that take these feeds and serving runs them; both come here, so that what was
verified is what is served. Numpy only: whoever has a session hands its ``run`` in.

Rows of a batch share a prefix, whose keys and values were computed once a request and are one
array (2 x layers, key_value_heads, P, head_size), keys and values of a layer beside each other.
Padding is on the right, where no real token looks: attention is causal, or masked.

The *plain* graph is Optimum's text-generation-with-past with a head of two rows:

    input_ids (B, L), position_ids (B, L), attention_mask (B, P + L),
    past_key_values.I.key / .value (B, key_value_heads, P, head_size)
    -> logits (B, L, 2), present.I.key / .value

The *fused* graph is ours, for the Llama family:

    input_ids (B, L), prefix (2 x layers, key_value_heads, P, head_size), answer_slots (B,) as
    places in the flattened (B x L) tokens, keep (1,) = how many leading tokens' keys and values
    are wanted; one made for a GPU also first_position (1,) = P, so that no length is copied there within
    -> logits (B, 2), keys_values (2 x layers, key_value_heads, keep, head_size)

The *pair* graph is a cross-encoder's, from Optimum, its token types worked out within:

    input_ids (B, L), attention_mask (B, L) -> logits (B, 1)

Every token of a pair looks at every other there, so nothing of a query can be shared.

L is at least ``LEAST_LENGTH`` in the fused graph: attention goes in so many chunks, none of them empty.
Keys and values may lie on a device: whoever runs the graph gives them out and takes them back.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from slimrank.manifest import Architecture

Logits = npt.NDArray[np.float32]
Rows = Sequence[Sequence[int]]
Feed = dict[str, Any]
"""Arrays by name of input; the prefix's keys and values as they came out of a run."""
Run = Callable[[list[str], Feed], list[Any]]
"""Runs a graph: names of outputs, feed -> those outputs."""

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
LOGITS = "logits"
PREFIX = "prefix"
ANSWER_SLOTS = "answer_slots"
KEEP = "keep"
FIRST_POSITION = "first_position"
KEYS_VALUES = "keys_values"
LEAST_LENGTH = 4
SHAPE_STEP = 64
"""Where shapes are to repeat, lengths are rounded up to a multiple of this: 8 lengths up to 512 tokens. A graph made for a GPU
has positions for as much padding behind its longest pair."""
FOR_GPU = ("fp16", "bf16", "int8-gpu")
"""Precisions of graphs made for a GPU. What goes in and comes out is float32 in all: half-width values stay within."""


class KeysValues(Protocol):
    """Keys and values of a prefix (2 x layers, key_value_heads, P, head_size): an array, or something like it on a device."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def nbytes(self) -> int:
        """The memory it holds, bytes."""
        ...


class Graph(Protocol):
    """An open graph that scores rows after a prefix computed once."""

    shares: bool
    """True if a prefix is computed once; otherwise it is put before every row, and every row pays for it."""

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, which may have no tokens; with those that it follows in front."""
        ...

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits at each row's last token, in the order irrelevant, relevant."""
        ...


def is_fused(input_names: Collection[str]) -> bool:
    """Tell whether these are the inputs of the fused graph."""
    return PREFIX in input_names


def is_pair(input_names: Collection[str]) -> bool:
    """Tell whether these are the inputs of a cross-encoder's graph."""
    return set(input_names) == {INPUT_IDS, ATTENTION_MASK}


def open_graph(input_names: Collection[str], architecture: Architecture, run: Run, *, step: int = 1) -> Graph:
    """Return the graph that has these inputs.

    Args:
        step: The fused graph pads batches to a length that is a multiple of this.
    """
    if is_pair(input_names):
        return PairGraph(run)
    if not is_fused(input_names):
        return PlainGraph(architecture, run)
    return FusedGraph(architecture, run, asks_position=FIRST_POSITION in input_names, step=step)


class FusedGraph:
    """Our own graph: the prefix at batch 1, only answer slots out."""

    shares = True

    def __init__(self, architecture: Architecture, run: Run, *, asks_position: bool = False, step: int = 1) -> None:
        self._run = run
        self._asks_position = asks_position
        self._step = step
        self._nothing: KeysValues = _no_tokens(architecture)

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, behind those that it follows."""
        after = self._nothing if after is None else after
        if not prefix_ids:
            return after
        feed = self._feed([prefix_ids], after, keep=after.shape[2] + len(prefix_ids))
        kept: KeysValues = self._run([KEYS_VALUES], feed)[0]
        return kept

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits at each row's last token."""
        found: Logits = self._run([LOGITS], self._feed(rows, shared, keep=0))[0]
        return found

    def _feed(self, rows: Rows, shared: KeysValues, *, keep: int) -> Feed:
        longest = max(LEAST_LENGTH, *(len(row) for row in rows))
        ids = _padded(rows, longest + -longest % self._step)
        slots = np.array([place * ids.shape[1] + len(row) - 1 for place, row in enumerate(rows)], dtype=np.int64)
        feed = {INPUT_IDS: ids, PREFIX: shared, ANSWER_SLOTS: slots, KEEP: np.array([keep], dtype=np.int64)}
        return feed | ({FIRST_POSITION: np.array([shared.shape[2]], dtype=np.int64)} if self._asks_position else {})


class PlainGraph:
    """Optimum's graph: the prefix is copied for every row, logits come at every position."""

    shares = True

    def __init__(self, architecture: Architecture, run: Run) -> None:
        self._run = run
        self._nothing: KeysValues = _no_tokens(architecture)
        kinds = [f"{layer}.{kind}" for layer in range(architecture.layers) for kind in ("key", "value")]
        self._past = [f"past_key_values.{kind}" for kind in kinds]
        self._present = [f"present.{kind}" for kind in kinds]

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the keys and values of a prefix, behind those that it follows."""
        after = self._nothing if after is None else after
        if not prefix_ids:
            return after
        kept: KeysValues = np.concatenate(self._run(self._present, self._feed([prefix_ids], after)))
        return kept

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
            ATTENTION_MASK: (np.arange(before + ids.shape[1]) < before + lengths).astype(np.int64),
            "position_ids": np.tile(np.arange(before, before + ids.shape[1], dtype=np.int64), (len(rows), 1)),
        }
        for name, part in zip(self._past, np.asarray(shared), strict=True):
            feed[name] = np.tile(part, (len(rows), 1, 1, 1))
        return feed


class PairGraph:
    """A cross-encoder's graph: whole pairs in, one logit out."""

    shares = False

    def __init__(self, run: Run) -> None:
        self._run = run

    def share(self, prefix_ids: Sequence[int], after: KeysValues | None = None) -> KeysValues:
        """Return the prefix's own ids, which ``logits`` puts before every row."""
        before = np.asarray([] if after is None else after, dtype=np.int64)
        return np.concatenate([before, np.asarray(prefix_ids, dtype=np.int64)])

    def logits(self, rows: Rows, shared: KeysValues) -> Logits:
        """Return (B, 2) logits: a single logit is that of "relevant" where "irrelevant" has 0."""
        before = np.asarray(shared).tolist()
        whole = [before + list(row) for row in rows]
        ids = _padded(whole)
        lengths = np.array([[len(row)] for row in whole])
        feed: Feed = {INPUT_IDS: ids, ATTENTION_MASK: (np.arange(ids.shape[1]) < lengths).astype(np.int64)}
        (single,) = self._run([LOGITS], feed)
        return np.concatenate([np.zeros_like(single), single], axis=1)


def _no_tokens(architecture: Architecture) -> npt.NDArray[np.float32]:
    return np.zeros((2 * architecture.layers, architecture.key_value_heads, 0, architecture.head_size), dtype=np.float32)


def _padded(rows: Rows, least: int = 1) -> npt.NDArray[np.int64]:
    """Return (B, L) ids, padded on the right; L is at least ``least``."""
    ids = np.zeros((len(rows), max(least, *(len(row) for row in rows))), dtype=np.int64)
    for row, target in zip(rows, ids, strict=True):
        target[: len(row)] = row
    return ids
