"""Without a GPU, the set-up leaves out CUDA and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "requirements" / "without_cuda.py"
LOCK = ROOT / "requirements" / "dev.txt"
NVIDIA_KEPT = {"nvidia-cuda-cupti", "nvidia-cuda-runtime"}
"""Small packages that torch needs when it is imported; see requirements/model.txt."""


def names(lock: str) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9][\w.-]*)", lock, flags=re.MULTILINE))


def test_the_packages_that_only_a_gpu_needs_are_removed_from_a_lock_with_their_hashes() -> None:
    whole = LOCK.read_text()
    left = subprocess.run([sys.executable, str(SCRIPT), str(LOCK)], capture_output=True, text=True, check=True).stdout
    gone = names(whole) - names(left)
    listed = {line for line in (ROOT / "requirements" / "without-cuda.in").read_text().splitlines() if line and line[0] != "#"}
    assert gone == listed & names(whole)
    assert {name for name in names(left) if name.startswith(("nvidia", "cuda-b", "triton"))} == NVIDIA_KEPT
    for block in re.split(r"^(?=[A-Za-z0-9])", left, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block
        assert block in whole


def test_the_machine_decides_about_cuda_unless_the_user_does() -> None:
    def recipe(*settings: str) -> str:
        command = ["make", "--dry-run", "--always-make", "setup", f"PYTHON={sys.executable}", *settings]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert 'if [ "$(' in recipe() and 'requirements/without_cuda.py)" = yes ]' in recipe()
    assert 'if [ "no" = yes ]' in recipe("WITHOUT_CUDA=no")
    assert 'if [ "yes" = yes ]' in recipe("WITHOUT_CUDA=yes")
