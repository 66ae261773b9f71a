"""The GPU's one-call measurement does on a CPU all that needs no GPU; no figure of it counts here."""

import json

import pytest

from tests.serving import gpu


@pytest.mark.parametrize("more", [[], ["--cuda-graphs"]])
def test_all_of_it_but_cuda_runs_and_scores_as_transformers_does(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--provider", "cpu", "--shapes", "tiny", "--pairs", "6", "--rounds", "1", "--batch-tokens", "512", *more])
    found = json.loads(capsys.readouterr().out)["tiny"]
    assert found["ours_pairs_per_second"] > 0
    if not more:  # fixed shapes fill rows in front, which only speed may ask for
        assert found["largest_difference"] < 0.05
