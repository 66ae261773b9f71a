"""``slimrank export --precision auto``: the fastest export on this machine that ranks as fp32 does.

Candidates are tried from the fastest expected to the slowest: exported, verified against the
checkpoint, and judged by the quality gate (``onnx_export.gate``). The first that passes is timed beside fp32
on the gate's pairs, in turn, so that other work on the machine hits both alike, and kept if it is
faster. The figures of all that were tried go into the manifest.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.gate import Agreement, Judged, agreement, judged_pairs, scores_of
from onnx_export.outliers import OUTLIERS
from onnx_export.runner import GraphRunner
from onnx_export.source import Report, new_folder
from onnx_export.verify import Reference, read_reference, verify
from slimrank import manifest as manifests
from slimrank.manifest import Manifest
from slimrank.prompt import Prompt
from slimrank.types import Scores

ROUNDS = 3
TIMED_QUERIES = 3
DOWN_PROJECTION = ("down_proj",)
"""Its inputs have the widest outliers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to export."""

    name: str
    precision: FusedPrecision
    in_float: tuple[str, ...] = ()
    in_two: tuple[str, ...] = ()


REFERENCE = Candidate("fp32", "fp32")
CANDIDATES = (
    Candidate("int8", "int8"),
    Candidate("int8-outliers-two", "int8", in_two=(OUTLIERS,)),
    Candidate("int8-down-two", "int8", in_two=DOWN_PROJECTION),
    Candidate("int8-down-o-two", "int8", in_two=(*DOWN_PROJECTION, "o_proj")),
    Candidate("int8-down-float", "int8", in_float=DOWN_PROJECTION),
)


@dataclass(slots=True)
class Trial:
    """What was found of a candidate."""

    candidate: Candidate
    folder: Path
    passed: bool
    ranks: Agreement
    seconds: float = float("inf")

    def figures(self) -> dict[str, object]:
        """Return what the manifest keeps."""
        timed: dict[str, object] = {} if self.seconds == float("inf") else {"seconds": round(self.seconds, 4)}
        return timed | {
            "rank_agreement": round(self.ranks.rank_agreement, 4),
            "nDCG@10": round(self.ranks.ndcg_at_10, 4),
            "largest_difference": round(self.ranks.largest_difference, 4),
            "passed": self.passed,
        }


def export_fastest(
    checkpoint: Path,
    target: Path,
    report: Report,
    *,
    name: str | None,
    prompt: Prompt,
    max_pair_tokens: int,
    trained: bool,
    collections: Sequence[Path] = (),
) -> Manifest:
    """Write the model folder of the fastest candidate that passes the gate; fp32 always does.

    Args:
        collections: BEIR folders whose judged queries are the gate's; none = the committed pairs.

    Raises:
        ModelSourceError, ConfigError: as ``onnx_export.export.export``.
        DataError: a collection cannot be read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".candidates-") as work:

        def made(candidate: Candidate) -> Path:
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
                in_two=candidate.in_two,
                trained=trained,
            )
            return folder

        exact = made(REFERENCE)
        reference = read_reference(exact, report, checkpoint=checkpoint)
        verify(exact, report, reference=reference)
        report("score the gate's pairs in fp32")
        pairs = judged_pairs(exact, collections)
        expected = scores_of(GraphRunner(exact, manifests.read(exact)), pairs)
        trials = [Trial(REFERENCE, exact, True, agreement(pairs, expected, expected))]
        for candidate in CANDIDATES:
            trials.append(_tried(candidate, made(candidate), reference, pairs, expected, report))
            if trials[-1].passed:
                break
            shutil.rmtree(trials[-1].folder)
        best = _fastest([trial for trial in trials if trial.passed], pairs, report)
        report(f"keep {best.candidate.name}")
        manifest = manifests.read(best.folder)
        tried = json.dumps({trial.candidate.name: trial.figures() for trial in trials})
        gate = ",".join(folder.name for folder in collections) or "committed pairs"
        manifest = manifest.model_copy(update={"made_with": manifest.made_with | {"candidates": tried, "gate": gate}})
        with new_folder(target) as partial:
            shutil.copytree(best.folder, partial, dirs_exist_ok=True)
            manifest.save(partial)
    return manifest


def _tried(
    candidate: Candidate, folder: Path, reference: Reference, pairs: list[Judged], expected: list[Scores], report: Report
) -> Trial:
    verified = verify(folder, report, reference=reference)
    report("score the gate's pairs")
    ranks = agreement(pairs, scores_of(GraphRunner(folder, manifests.read(folder)), pairs), expected)
    report(
        f"{candidate.name}: tau {ranks.rank_agreement:.3f}, nDCG@10 {ranks.reference_ndcg_at_10:.4f} -> {ranks.ndcg_at_10:.4f}"
    )
    return Trial(candidate, folder, verified.passed and ranks.passed, ranks)


def _fastest(trials: list[Trial], pairs: list[Judged], report: Report) -> Trial:
    report("time the candidates")
    runners = [GraphRunner(trial.folder, manifests.read(trial.folder)) for trial in trials]
    for _ in range(ROUNDS):
        for trial, runner in zip(trials, runners, strict=True):
            began = time.perf_counter()
            scores_of(runner, pairs[:TIMED_QUERIES])
            trial.seconds = min(trial.seconds, time.perf_counter() - began)
    return min(trials, key=lambda trial: trial.seconds)
