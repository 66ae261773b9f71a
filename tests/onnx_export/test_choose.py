"""`--precision auto` keeps the fastest export that ranks as float32 does, and notes what else it tried."""

import json
from pathlib import Path

import onnxruntime as ort
import pytest

from onnx_export.choose import GPU_CANDIDATES, export_fastest
from slimrank import manifest as manifests
from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK
from tests.onnx_export.test_export import HOW, ignore
from tests.tiny import MAX_PAIR_TOKENS


def test_auto_keeps_a_candidate_that_passes_the_gate_and_records_all_candidates(tiny_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    export_fastest(tiny_checkpoint, target, ignore, name=None, prompt=SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, trained=False)
    manifest = manifests.check(target)
    tried = json.loads(manifest.made_with["candidates"])
    assert {"fp32", "int8"} <= set(tried)
    assert tried["fp32"]["passed"]
    passed = [name for name, figures in tried.items() if figures["passed"]]
    assert len(passed) <= 2, "trying ends with the first that passes"
    kept = min(passed, key=lambda name: tried[name]["seconds"])
    assert manifest.precision == kept[:4]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_auto_for_a_gpu_times_all_that_pass(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert [candidate.precision for candidate in GPU_CANDIDATES] == ["fp16", "bf16", "int8-gpu"]
    some = [candidate for candidate in GPU_CANDIDATES if candidate.precision != "bf16"]  # which a CPU cannot run
    made = export_fastest(tiny_checkpoint, tmp_path / "model", ignore, candidates=some, times_all=True, **HOW)
    tried = json.loads(made.made_with["candidates"])
    assert set(tried) == {"fp32", "fp16", "int8-gpu"}
    assert tried["fp16"]["passed"]
    assert all(figures["passed"] == ("seconds" in figures) for figures in tried.values())
    assert made.precision == min((name for name in tried if tried[name]["passed"]), key=lambda name: tried[name]["seconds"])


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has a GPU's provider")
def test_auto_for_a_gpu_is_refused_before_any_work_where_there_is_none(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SLIMRANK_PROVIDER=cuda was asked for, and this ONNX Runtime offers"):
        export_fastest(tiny_checkpoint, tmp_path / "model", ignore, candidates=GPU_CANDIDATES, provider="cuda", **HOW)
    assert not list(tmp_path.iterdir())
