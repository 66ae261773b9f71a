"""Two processes take the same steps as one process with twice as many groups."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from training.config import FinegrainedConfig, read_config
from training.finegrained import train

CONFIG = """
optimizer: {learning_rate: 1.0e-2, warmup_steps: 2, groups_per_step: %d}
steps: 4
document_tokens: {32: 1.0}
model: {adapter: {rank: 4, alpha: 4}}
threads: 1
"""


@pytest.mark.slow
def test_two_processes_repeat_the_run_of_one(base: Path, groups_file: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIG % 2)
    (tmp_path / "two.yaml").write_text(CONFIG % 1)
    places = {"model__base": base, "groups": groups_file}
    train(read_config(tmp_path / "one.yaml", FinegrainedConfig, **places, output=tmp_path / "one"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "slimrank", "train"]
    options = ["--base", str(base), "--groups", str(groups_file), "--out", str(tmp_path / "two")]
    done = subprocess.run(
        [*launch, "finegrained", str(tmp_path / "two.yaml"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    norms = [
        [json.loads(line)["gradient_norm"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)
