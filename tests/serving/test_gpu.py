"""The GPU's one-call measurement does on a CPU all that needs no GPU; no figure of it counts here."""

import json

import pytest

from slimrank.errors import ConfigError
from tests.serving import gpu

TOLERANCE = {"int8-gpu": 0.1, "fp16": 0.05}


def test_all_of_it_but_cuda_runs_and_scores_as_transformers_does(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--provider", "cpu", "--shapes", "tiny", "--pairs", "6", "--rounds", "1", "--batch-tokens", "512"]
    gpu.main([*small, "--precisions", *TOLERANCE])
    found = json.loads(capsys.readouterr().out)["tiny"]
    for precision, tolerance in TOLERANCE.items():
        assert list(found[precision]) == [*gpu.WAYS, "transformers"]
        for way in gpu.WAYS:
            assert found[precision][way]["pairs_per_second"] > 0
            assert found[precision][way]["largest_difference"] < tolerance


def test_what_a_cpu_cannot_run_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="bf16 was asked for on provider cpu"):
        gpu.main(["--provider", "cpu", "--shapes", "tiny", "--precisions", "fp16", "bf16"])
