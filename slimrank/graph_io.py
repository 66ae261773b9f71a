"""The contract of an exported graph: names and shapes of what goes in and comes out.

Export makes graphs that take these feeds and serving runs them; both build their feeds here, so
that what was verified is what is served. Numpy only: no graph library is imported.

The *plain* graph is Optimum's text-generation-with-past with a head of two rows. Rows of a batch
share a prefix whose keys and values were computed once:

    input_ids (B, L), position_ids (B, L), attention_mask (B, P + L),
    past_key_values.I.key / .value (B, key_value_heads, P, head_size)
    -> logits (B, L, 2), present.I.key / .value
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slimrank.manifest import Architecture

Feed = dict[str, npt.NDArray[np.generic]]
KeysValues = list[npt.NDArray[np.float32]]
"""Per layer a key and a value, each (1, key_value_heads, P, head_size)."""

LOGITS = "logits"


def past_names(architecture: Architecture) -> list[str]:
    """Return the inputs that take a prefix's keys and values, in their order."""
    return [f"past_key_values.{layer}.{kind}" for layer in range(architecture.layers) for kind in ("key", "value")]


def present_names(architecture: Architecture) -> list[str]:
    """Return the outputs that give keys and values, in the same order."""
    return [f"present.{layer}.{kind}" for layer in range(architecture.layers) for kind in ("key", "value")]


def no_prefix(architecture: Architecture) -> KeysValues:
    """Return the keys and values of a prefix of no tokens."""
    shape = (1, architecture.key_value_heads, 0, architecture.head_size)
    return [np.zeros(shape, dtype=np.float32) for _ in range(2 * architecture.layers)]


def plain_feed(rows: Sequence[Sequence[int]], prefix: KeysValues, architecture: Architecture) -> Feed:
    """Return the feed of rows of token ids that follow one shared prefix.

    Rows are padded on the right, where no real token looks: attention is causal.
    """
    lengths = np.array([len(row) for row in rows])
    longest = int(lengths.max())
    prefix_length = prefix[0].shape[2]
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    for row, target in zip(rows, ids, strict=True):
        target[: len(row)] = row
    mask = np.arange(prefix_length + longest) < (prefix_length + lengths)[:, None]
    positions = np.broadcast_to(np.arange(prefix_length, prefix_length + longest), ids.shape)
    feed: Feed = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "position_ids": positions.astype(np.int64)}
    for name, part in zip(past_names(architecture), prefix, strict=True):
        feed[name] = np.ascontiguousarray(np.broadcast_to(part, (len(rows), *part.shape[1:])))
    return feed


def answer_logits(logits: npt.NDArray[np.float32], rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """Return (B, 2) logits at each row's last real token, from (B, L, 2)."""
    last = np.array([len(row) - 1 for row in rows])
    slots: npt.NDArray[np.float32] = logits[np.arange(len(rows)), last]
    return slots
