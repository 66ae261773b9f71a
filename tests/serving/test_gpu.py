"""The GPU's one-call measurement does on a CPU all that needs no GPU; no figure of it counts here."""

import json

import pytest

from tests.serving import gpu


def test_all_of_it_but_cuda_runs_and_scores_as_transformers_does(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--provider", "cpu", "--shapes", "tiny", "--pairs", "6", "--rounds", "1", "--batch-tokens", "512"])
    found = json.loads(capsys.readouterr().out)["tiny"]
    assert list(found) == [*gpu.WAYS, "transformers"]
    for way in gpu.WAYS:
        assert found[way]["pairs_per_second"] > 0
        assert found[way]["largest_difference"] < 0.05
