"""``slimrank export --precision auto``: the fastest export on this machine that ranks as fp32 does.

Candidates are exported, verified against the checkpoint and timed on the committed pairs, in turn
and repeatedly, so that other work on the machine hits all alike. The gate is about rankings, not
scores: Kendall's tau with the checkpoint's order, and nDCG@10 within .005 of its. The figures of
all candidates go into the manifest.
"""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.runner import GraphRunner
from onnx_export.source import Report, new_folder
from onnx_export.verify import Reference, read_reference, verify
from slimrank import manifest as manifests
from slimrank.manifest import Manifest
from slimrank.prompt import Prompt
from slimrank.types import Scores

LEAST_AGREEMENT = 0.9
LARGEST_NDCG_LOSS = 0.005
ROUNDS = 3
DOWN_PROJECTION = ("down_proj",)
"""Its inputs have the widest outliers; in float32 it costs half as much again as all in int8."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to export."""

    name: str
    precision: FusedPrecision
    in_float: tuple[str, ...] = ()


CANDIDATES = (Candidate("fp32", "fp32"), Candidate("int8", "int8"), Candidate("int8-down-float", "int8", DOWN_PROJECTION))


@dataclass(slots=True)
class Trial:
    """What was found of a candidate."""

    candidate: Candidate
    folder: Path
    rank_agreement: float
    ndcg_at_10: float
    passed: bool
    seconds: float = float("inf")

    def figures(self) -> dict[str, object]:
        """Return what the manifest keeps."""
        return {
            "seconds": round(self.seconds, 4),
            "rank_agreement": round(self.rank_agreement, 4),
            "nDCG@10": round(self.ndcg_at_10, 4),
            "passed": self.passed,
        }


def export_fastest(
    checkpoint: Path, target: Path, report: Report, *, name: str | None, prompt: Prompt, max_pair_tokens: int, trained: bool
) -> Manifest:
    """Write the model folder of the fastest candidate that passes the gate; fp32 always does.

    Raises:
        ModelSourceError, ConfigError: as ``onnx_export.export.export``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".candidates-") as work:
        trials: list[Trial] = []
        reference: Reference | None = None
        for candidate in CANDIDATES:
            report(f"try {candidate.name}")
            folder = Path(work) / candidate.name
            export(
                checkpoint,
                folder,
                report,
                name=name or target.name,
                prompt=prompt,
                max_pair_tokens=max_pair_tokens,
                precision=candidate.precision,
                in_float=candidate.in_float,
                trained=trained,
            )
            reference = reference or read_reference(folder, report, checkpoint=checkpoint)
            trials.append(_tried(candidate, folder, reference, report))
        assert reference is not None
        report("time the candidates")
        _time([trial for trial in trials if trial.passed], reference)
        best = min((trial for trial in trials if trial.passed), key=lambda trial: trial.seconds)
        report(f"keep {best.candidate.name}")
        manifest = manifests.read(best.folder)
        tried = json.dumps({trial.candidate.name: trial.figures() for trial in trials})
        manifest = manifest.model_copy(update={"made_with": manifest.made_with | {"candidates": tried}})
        with new_folder(target) as partial:
            shutil.copytree(best.folder, partial, dirs_exist_ok=True)
            manifest.save(partial)
    return manifest


def _tried(candidate: Candidate, folder: Path, reference: Reference, report: Report) -> Trial:
    found = verify(folder, report, reference=reference)
    runner = GraphRunner(folder, manifests.read(folder))
    scores = [runner.score(group.rows, prefix=group.prefix) for group in reference.groups]
    gain, expected = ndcg_of_first(scores), ndcg_of_first(reference.scores)
    alike = found.rank_agreement >= LEAST_AGREEMENT and gain >= expected - LARGEST_NDCG_LOSS
    return Trial(candidate, folder, found.rank_agreement, gain, found.passed and alike)


def _time(trials: list[Trial], reference: Reference) -> None:
    runners = [GraphRunner(trial.folder, manifests.read(trial.folder)) for trial in trials]
    for _ in range(ROUNDS):
        for trial, runner in zip(trials, runners, strict=True):
            began = time.perf_counter()
            for group in reference.groups:
                runner.score(group.rows, prefix=group.prefix)
            trial.seconds = min(trial.seconds, time.perf_counter() - began)


def ndcg_of_first(scores: list[Scores]) -> float:
    """Return mean nDCG@10 where the first document of each query is the relevant one."""
    ranks = [1 + int((one > one[0]).sum()) for one in scores]
    return float(np.mean([1 / np.log2(1 + rank) if rank <= 10 else 0.0 for rank in ranks]))
