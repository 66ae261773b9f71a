"""The engine's comparison runs every contender on the same tokens, and they agree."""

from pathlib import Path

import pytest

from slimrank.serving.bench_engine import compare
from tests.tiny import make_model


@pytest.mark.slow
def test_all_contenders_give_the_same_scores(tiny_model: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    plain = make_model(tiny_checkpoint, tmp_path / "plain", plain=True)
    report = compare(tiny_model, plain=plain, checkpoint=tiny_checkpoint, data=None, queries=2, depth=5, threads=1, seed=0)
    assert set(report["contenders"]) == {"fused", "fused-alone", "plain", "torch-fp32", "torch-bf16", "minilm-sized-fp32"}
    assert "largest_difference_from_ours" not in report["contenders"].pop("minilm-sized-fp32"), "its weights are random"
    for name, figures in report["contenders"].items():
        assert figures["largest_difference_from_ours"] < (0.5 if name == "torch-bf16" else 1e-3)
    assert all(ratio > 0 for ratio in report["ratios"].values())
    assert report["pairs"] == 10
