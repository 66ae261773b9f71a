"""Verify an exported graph: compare its scores with those of the checkpoint that it was made from.

``onnx_export.reference`` computes the checkpoint's scores. The graph scores each pair alone, in a padded batch, and after a
shared prefix; the largest difference counts. The figures go into the manifest, and serving refuses a folder that failed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onnx_export import checkpoint as checkpoints
from onnx_export.checkpoint import weights_hash
from onnx_export.cores import side_by_side
from onnx_export.export import CHECKPOINT_HASH_KEY, CHECKPOINT_KEY
from onnx_export.reference import Reference, TokenGroup, score_pairs
from onnx_export.runner import GraphRunner
from onnx_export.steps import Report, ticks
from slimrank import manifest as manifests
from slimrank.errors import ManifestError
from slimrank.manifest import PROMPT_FILE, Manifest, Precision, Verification
from slimrank.prompt import Prompt
from slimrank.providers import check_precision
from slimrank.rank_correlation import kendall_tau
from slimrank.types import Scores

TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05, "int8": 1.0, "int8-gpu": 0.5}
"""The largest difference of a score that is accepted, by precision."""


def verify(
    folder: Path,
    report: Report,
    *,
    checkpoint: Path | None = None,
    reference: Reference | None = None,
    provider: str = "cpu",
) -> Verification:
    """Compare a model folder with its checkpoint and write the figures into its manifest.

    Args:
        checkpoint: The checkpoint folder; default the one recorded at export.
        reference: The checkpoint's scores, if they were computed before.
        provider: Where the graph runs; the checkpoint runs on the CPU.

    Raises:
        ConfigError: the provider cannot run the folder's precision, or this ONNX Runtime lacks it.
        ManifestError: the folder is incomplete, or its checkpoint is missing or has other weights.
    """
    manifest = manifests.check(folder, unverified=True)
    check_precision(provider, manifest.precision)
    expected = reference or read_reference(folder, report, checkpoint=checkpoint)
    runner = GraphRunner(folder, manifest, provider=provider)
    tick = ticks(report, "score the pairs with the graph", len(expected.groups))
    found = side_by_side(lambda group: graph_scores(runner, group), expected.groups, tick, size=lambda group: group.tokens)
    tolerance = TOLERANCE[manifest.precision]
    both = list(zip(found, expected.scores, strict=True))
    worst = max(float(np.abs(got - want).max()) for gots, want in both for got in gots)
    verification = Verification(
        pairs=sum(map(len, expected.scores)),
        max_score_difference=worst,
        rank_agreement=float(np.mean([kendall_tau(gots[-1], want) for gots, want in both])),
        tolerance=tolerance,
        passed=worst <= tolerance,
        reference=expected.description,
    )
    manifest.model_copy(update={"verification": verification}).save(folder)
    return verification


def read_reference(folder: Path, report: Report, *, checkpoint: Path | None = None) -> Reference:
    """Score the committed pairs with the checkpoint of a model folder.

    Raises:
        ManifestError: the checkpoint is missing or has other weights.
    """
    manifest = manifests.read(folder)
    source = _checkpoint_folder(manifest, checkpoint)
    report("load the checkpoint")
    loaded = checkpoints.load(source)
    encoder = loaded.encoder(
        Prompt.load(folder / PROMPT_FILE), max_pair_tokens=manifest.max_pair_tokens, max_query_tokens=manifest.max_query_tokens
    )
    return score_pairs(loaded, encoder, report)


def graph_scores(runner: GraphRunner, group: TokenGroup) -> list[Scores]:
    """Return (N,) scores for each way to run a group: each pair alone, in padded batches, after a shared prefix."""
    whole = [group.prefix + row for row in group.rows]
    alone = np.concatenate([runner.score([row]) for row in whole])
    batched, shared = np.empty_like(alone), np.empty_like(alone)
    for batch in uneven_batches(group.rows):
        batched[batch] = runner.score([whole[i] for i in batch])
        shared[batch] = runner.score([group.rows[i] for i in batch], prefix=group.prefix)
    return [alone, batched, shared]


def uneven_batches(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the indices of a group's rows in two batches: the longest with the shortest, and the others.

    This gives the widest possible padding at the cost of one row.
    """
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches = [[by_length[0], by_length[-1]], by_length[1:-1]] if len(rows) > 1 else [by_length]
    return [batch for batch in batches if batch]


def _checkpoint_folder(manifest: Manifest, given: Path | None) -> Path:
    folder = given or Path(manifest.made_with.get(CHECKPOINT_KEY, ""))
    if not (folder / "config.json").is_file():
        raise ManifestError(f"the checkpoint of {manifest.name} is not at {folder}; name its folder with --checkpoint")
    if weights_hash(folder) != manifest.made_with.get(CHECKPOINT_HASH_KEY):
        raise ManifestError(f"{folder} is not the checkpoint that {manifest.name} was exported from: its weights differ")
    return folder
