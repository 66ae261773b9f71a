"""The reference that an exported graph is compared with: the checkpoint's own scores of the committed pairs.

They are computed in the simplest way: transformers with the full head, one whole pair at a time. A cross-encoder runs with its own
head, on pairs that its own tokenizer joins.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from onnx_export import checkpoint as checkpoints
from onnx_export import cross_encoder
from onnx_export.checkpoint import weights_hash
from onnx_export.cores import side_by_side
from onnx_export.pairs import PairGroup, read_pairs
from onnx_export.steps import Report, ticks
from slimrank.prompt import PromptEncoder
from slimrank.types import Scores


@dataclass(frozen=True, slots=True)
class Reference:
    """The checkpoint's scores of the committed pairs: computed once, compared with several exports."""

    groups: "list[TokenGroup]"
    scores: list[Scores]
    description: str


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """One query's shared prefix, and for each document the tokens that follow it."""

    prefix: list[int]
    rows: list[list[int]]
    texts: PairGroup

    @property
    def tokens(self) -> int:
        """The number of tokens of all pairs, each with the prefix."""
        return sum(len(self.prefix) + len(row) for row in self.rows)


def score_pairs(loaded: checkpoints.Checkpoint, encoder: PromptEncoder, report: Report) -> Reference:
    """Score the committed pairs with a checkpoint whose weights were not changed since it was loaded."""
    groups = list(token_groups(encoder))
    tick = ticks(report, "score the pairs with the checkpoint", len(groups))
    scores = side_by_side(lambda group: reference_scores(loaded, encoder, group), groups, tick, size=lambda group: group.tokens)
    name = f"{loaded.model.config.model_type} {weights_hash(loaded.folder)[:12]} in torch {torch.__version__} float32"
    return Reference(groups, scores, name)


def token_groups(encoder: PromptEncoder) -> Iterator[TokenGroup]:
    """Yield the committed pairs as token ids."""
    for group in read_pairs():
        prefix = encoder.prefix_ids(group.query).ids
        pieces = encoder.document_ids(group.documents, len(prefix))
        yield TokenGroup(prefix, [piece.ids + encoder.suffix_ids for piece in pieces], group)


def reference_scores(loaded: checkpoints.Checkpoint, encoder: PromptEncoder, group: TokenGroup) -> Scores:
    """Return (N,) scores of the checkpoint with its full head, one whole pair at a time."""
    if loaded.kind == "cross_encoder":
        return cross_encoder.reference_scores(loaded.model, loaded.tokenizer, group.texts, encoder.max_pair_tokens)
    irrelevant, relevant = encoder.answer_ids
    scores = []
    with torch.inference_mode():
        for row in group.rows:
            logits = loaded.model(input_ids=torch.tensor([group.prefix + row]), logits_to_keep=1).logits[0, -1].float()
            scores.append((logits[relevant] - logits[irrelevant]).item())
    return np.array(scores, dtype=np.float32)
