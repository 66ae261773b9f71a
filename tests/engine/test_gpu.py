"""The GPU's one-call measurement does on a CPU all that needs no GPU; no figure of it counts here."""

import json
from pathlib import Path

import pytest

from slimrank.errors import ConfigError
from tests.engine import gpu

TOLERANCE = {"int8-gpu": 0.1, "fp16": 0.05}
SMALL = ["--provider", "cpu", "--shapes", "tiny", "--requests", "2", "--documents", "3", "--rounds", "1", "--batch-tokens", "512"]


def test_all_of_it_but_cuda_runs_and_scores_as_torch_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = tmp_path / "lengths.json"
    lengths.write_text(json.dumps({"head": 20, "queries": [5, 9], "documents": [30, 100, 600]}))
    kept = ["--graphs", str(tmp_path / "graphs"), "--lengths", str(lengths), "--precisions", *TOLERANCE]
    gpu.main([*SMALL, *kept, "--write-only"])
    assert not capsys.readouterr().out
    gpu.main([*SMALL, *kept])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["precision"], line["way"]) for line in lines] == [
        (precision, way) for precision in TOLERANCE for way in (*gpu.WAYS, "torch")
    ]
    for line in lines:
        assert line["pairs_per_second"] > 0
        assert line["largest_difference"] < TOLERANCE[line["precision"]]


def test_a_way_that_fails_says_so_and_the_others_are_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "repeating_batches", lambda lengths, most: [[len(lengths)]])
    gpu.main([*SMALL, "--precisions", "fp16"])
    lines = {line["way"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "list index out of range" in lines["graphs"]["failed"]
    assert lines["whole"]["pairs_per_second"] > 0


def test_what_a_cpu_cannot_run_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="bf16 was asked for on provider cpu"):
        gpu.main(["--provider", "cpu", "--shapes", "tiny", "--precisions", "fp16", "bf16"])
