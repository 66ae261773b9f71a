"""The stand-ins for CUDA in the model's image: only for missing libraries, with the versions that torch needs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.docker.cuda_stand_ins import asked_of, main

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not here; the image's build brings its own")


def test_a_stand_in_has_the_functions_and_the_version_of_its_library() -> None:
    symbols = {
        "cublasCreate@libcublas.so.13",
        "ncclSend",
        "nvshmem_init@NVSHMEM",
        "malloc@GLIBC_2.2.5",
        "cudaMalloc@libcudart.so.13",
    }
    assert asked_of("libcublas.so.13", symbols) == ("libcublas.so.13", ["cublasCreate"])
    assert asked_of("libnvshmem_host.so.3", symbols) == ("NVSHMEM", ["nvshmem_init"])
    assert asked_of("libnccl.so.2", symbols) == ("", ["ncclSend"])


@needs_gcc
def test_a_library_loads_with_a_stand_in_and_a_call_of_cuda_ends_with_a_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, elsewhere = tmp_path / "torch" / "lib", tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    elsewhere.mkdir()
    compile_library(elsewhere / "libcublas.so.13", "void cublasCreate(void) {}", "-Wl,-soname,libcublas.so.13")
    asks = ["-L", str(elsewhere), "-l:libcublas.so.13", "-Wl,-rpath,$ORIGIN"]
    compile_library(folder / "libtorch.so", "void cublasCreate(void); void multiply(void) { cublasCreate(); }", *asks)
    call = f"import ctypes; ctypes.CDLL({str(folder / 'libtorch.so')!r}).multiply()"
    # In another process: in this one, torch may have loaded a real library for another test.
    assert "libcublas.so.13: cannot open" in run(call).stderr

    main(tmp_path)

    assert capfd.readouterr().out == "libcublas.so.13: 1 functions stand in\n"
    ended = run(call)
    assert ended.returncode < 0 and ended.stderr.startswith("cublasCreate: CUDA is not in this image")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def compile_library(target: Path, code: str, *options: str) -> None:
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target), "-x", "none", *options], input=code, text=True, check=True
    )
