"""``slimrank export --precision auto``: find the fastest export on this machine that ranks as fp32 does.

The candidates are tried in order, the one that should be fastest first. Each is exported, verified against the
checkpoint, and judged by the quality gate (``onnx_export.gate``). The first candidate that passes is timed against
fp32 on the gate's pairs, and kept if it is faster. The two take turns, so that other work on the machine slows both alike.
For a GPU the order is not known beforehand, so all candidates that pass are timed. The figures of every candidate
that was tried go into the manifest.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime as ort

from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.gate import BATCH_ROWS, Agreement, Judged, agreement, judged_pairs, scores_of
from onnx_export.outliers import OUTLIERS
from onnx_export.reference import Reference
from onnx_export.runner import GraphRunner
from onnx_export.steps import Report
from onnx_export.verify import read_reference, verify
from slimrank import manifest as manifests
from slimrank import providers
from slimrank.errors import ManifestError
from slimrank.folders import check_replaceable, new_folder
from slimrank.manifest import Manifest, is_model_folder
from slimrank.prompt import Prompt
from slimrank.types import Scores

ROUNDS = 3
TIMED_QUERIES = 3
DOWN_PROJECTION = ("down_proj",)
"""The inputs of this product have the widest outliers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to export a checkpoint."""

    name: str
    precision: FusedPrecision
    in_float: tuple[str, ...] = ()
    in_two: tuple[str, ...] = ()


REFERENCE = Candidate("fp32", "fp32")
CANDIDATES = (
    Candidate("int8", "int8", in_two=(OUTLIERS,)),
    Candidate("int8-down-two", "int8", in_two=DOWN_PROJECTION),
    Candidate("int8-down-o-two", "int8", in_two=(*DOWN_PROJECTION, "o_proj")),
    Candidate("int8-down-float", "int8", in_float=DOWN_PROJECTION),
)
PAIR_CANDIDATES = (Candidate("int8", "int8"),)
GPU_CANDIDATES = (Candidate("fp16", "fp16"), Candidate("bf16", "bf16"), Candidate("int8-gpu", "int8-gpu"))
GPU_TIMES, GPU_BATCH_ROWS = 16, 64
"""How many times each document is repeated, and the rows of a batch: four rows do not keep a GPU busy. Not measured on a GPU."""


@dataclass(slots=True)
class Trial:
    """A candidate that was exported, and its measured figures."""

    candidate: Candidate
    folder: Path
    passed: bool
    ranks: Agreement
    seconds: float = float("inf")

    def figures(self) -> dict[str, object]:
        """Return the figures that the manifest records."""
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
    candidates: Sequence[Candidate] = CANDIDATES,
    times_all: bool = False,
    provider: str = "cpu",
) -> Manifest:
    """Write the model folder of the fastest candidate that passes the gate; fp32 always passes.

    Args:
        collections: BEIR folders whose judged queries the gate uses; empty = the committed pairs.
        candidates: Tried in this order until one passes.
        times_all: Try and time all candidates instead.
        provider: Where the candidates run; the reference scores are computed on the CPU.

    Raises:
        ModelSourceError, ConfigError: as ``onnx_export.export.export``.
        ConfigError: this ONNX Runtime lacks the provider.
        DataError: a collection cannot be read.
    """
    providers.chosen(provider, ort.get_available_providers())  # before minutes of work
    check_replaceable(target, is_model_folder, "a model folder")
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
        if not (found := verify(exact, report, reference=reference)).passed:
            raise ManifestError(
                f"{target} was not written: even in fp32 scores differ by up to {found.max_score_difference:.4g} from"
                f" {found.reference}, and {found.tolerance:.4g} is allowed"
            )
        report("score the gate's pairs in fp32")
        pairs = judged_pairs(exact, collections)
        expected = scores_of(GraphRunner(exact, manifests.read(exact)), pairs)
        trials = [Trial(REFERENCE, exact, True, agreement(pairs, expected, expected))]
        for candidate in candidates:
            trials.append(_tried(candidate, made(candidate), reference, pairs, expected, report, provider))
            if not trials[-1].passed:
                shutil.rmtree(trials[-1].folder)
            elif not times_all:
                break
        best = _fastest([trial for trial in trials if trial.passed], pairs, report, provider)
        report(f"keep {best.candidate.name}")
        manifest = manifests.read(best.folder)
        tried = json.dumps({trial.candidate.name: trial.figures() for trial in trials})
        gate = ",".join(folder.name for folder in collections) or "committed pairs"
        manifest = manifest.model_copy(update={"made_with": manifest.made_with | {"candidates": tried, "gate": gate}})
        with new_folder(target, is_model_folder, "a model folder") as partial:
            shutil.copytree(best.folder, partial, dirs_exist_ok=True)
            manifest.save(partial)
    return manifest


def _tried(
    candidate: Candidate,
    folder: Path,
    reference: Reference,
    pairs: list[Judged],
    expected: list[Scores],
    report: Report,
    provider: str,
) -> Trial:
    verified = verify(folder, report, reference=reference, provider=provider)
    report("score the gate's pairs")
    runner = GraphRunner(folder, manifests.read(folder), provider=provider)
    ranks = agreement(pairs, scores_of(runner, pairs), expected)
    report(
        f"{candidate.name}: tau {ranks.rank_agreement:.3f}, nDCG@10 {ranks.reference_ndcg_at_10:.4f} -> {ranks.ndcg_at_10:.4f}"
    )
    return Trial(candidate, folder, verified.passed and ranks.passed, ranks)


def _fastest(trials: list[Trial], pairs: list[Judged], report: Report, provider: str) -> Trial:
    report("time the candidates")
    runners = [GraphRunner(trial.folder, manifests.read(trial.folder), provider=provider) for trial in trials]
    times, batch_rows = (1, BATCH_ROWS) if provider == "cpu" else (GPU_TIMES, GPU_BATCH_ROWS)
    timed = [replace(query, rows=query.rows * times) for query in pairs[:TIMED_QUERIES]]
    for runner in runners:  # the first run pays costs that come only once
        scores_of(runner, timed[:1], batch_rows=batch_rows)
    for _ in range(ROUNDS):
        for trial, runner in zip(trials, runners, strict=True):
            began = time.perf_counter()
            scores_of(runner, timed, batch_rows=batch_rows)
            trial.seconds = min(trial.seconds, time.perf_counter() - began)
    return min(trials, key=lambda trial: trial.seconds)
