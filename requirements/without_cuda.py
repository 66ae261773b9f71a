"""Say whether this machine does without CUDA, and give a lock file without it: some 3.5 GB that only a GPU needs.

    python requirements/without_cuda.py                  prints yes or no
    python requirements/without_cuda.py requirements/dev.txt    prints the lock without the packages of without-cuda.in

PyPI's torch loads CUDA's libraries when it is imported. Where they are left out, ``deploy/docker/cuda_stand_ins.py``
compiles empty ones, so a compiler has to be there; where it is not, CUDA is installed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXCLUDED = Path(__file__).with_name("without-cuda.in")
GPU = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")
"""One of these is there where the driver is; the last under Windows' Linux."""


def does_without() -> bool:
    """Tell whether this is a Linux machine with no NVIDIA GPU, and can compile what stands in for CUDA."""
    if not sys.platform.startswith("linux") or any(Path(path).exists() for path in GPU) or shutil.which("nvidia-smi"):
        return False
    return all(map(shutil.which, ("gcc", "readelf", "nm"))) and _compiles()


def left(lock: str, excluded: set[str]) -> str:
    """Return a lock file's text without some packages: each is a line with its hashes and remarks indented below."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return "".join(block for block in blocks if re.split(r"[=\[; ]", block, maxsplit=1)[0].lower() not in excluded)


def excluded_names() -> set[str]:
    """Return the packages that only a GPU needs."""
    lines = (line.partition("#")[0].strip().lower() for line in EXCLUDED.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line}


def _compiles() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{folder}/probe.so"]
        source = '#include <stdio.h>\nvoid probe(void) { puts(""); }\n'
        return subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(left(Path(sys.argv[1]).read_text(encoding="utf-8"), excluded_names()))
    else:
        print("yes" if does_without() else "no")
