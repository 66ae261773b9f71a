"""The wheel and the sdist: they build from the files that git tracks, contain the files that the code reads, and can rerank.

The wheel is built from the sdist, which shows that both are complete. It is installed with the locked serving requirements only,
without torch and without a checkout.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from slimrank import __version__
from slimrank.settings import DEFAULT_MODEL_NAME
from tests.deploy.helm import ROOT

EXTRAS = {
    "train",
    "export",
    "serve",
    "gpu",
    "connect",
    "audit",
    "haystack",
    "langchain",
    "llamaindex",
    "pyterrier",
    "rerankers",
    "dev",
}
# One of each kind of file that the code reads from its own folders.
READ = [
    "onnx_export/pairs.jsonl",
    "slimrank/evaluation/frontier.json",
    "onnx_export/models/slimrank-135m/adapter_model.safetensors",
    "connector/playground/static/index.html",
    "training/configs/finegrained.yaml",
    "slimrank/evaluation/python_docs/queries.jsonl",
    "slimrank/evaluation/python_docs/qrels.tsv",
]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, out: Path) -> Path:
    done = subprocess.run([sys.executable, "-c", BUILD, kind, str(out)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sdist of the files that git tracks."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, tracked):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copyfile(ROOT / name, tree / name)
    shutil.copytree(tree / "models" / DEFAULT_MODEL_NAME, tree / "models" / "another")
    return build("sdist", tree, out)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, made from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / f"slimrank-{__version__}", folder)


def test_the_wheel_holds_what_the_code_reads_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in READ if name not in names] == []
    shipped = {name.split("/")[2]: name for name in names if name.startswith("onnx_export/models/")}
    assert shipped.keys() == {"another", *(path.parent.name for path in ROOT.glob("models/*/adapter_config.json"))}
    assert {name.split("/")[0] for name in names} == {
        "slimrank", "training", "onnx_export", "connector", "deploy", f"slimrank-{__version__}.dist-info",
    }  # fmt: skip


def test_extras_and_version_are_what_the_documentation_says(wheel: Path) -> None:
    metadata = message_from_bytes(zipfile.ZipFile(wheel).read(f"slimrank-{__version__}.dist-info/METADATA"))
    assert set(metadata.get_all("Provides-Extra", [])) >= EXTRAS
    assert metadata["Version"] == __version__ and metadata["Requires-Python"] == ">=3.11"


@pytest.mark.slow
def test_a_first_rerank_works_in_an_empty_environment(wheel: Path, tiny_model: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    bin_folder = tmp_path / "empty" / "bin"

    def run(*command: str, stdin: str = "", code: int = 0) -> str:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("SLIMRANK_")
        }
        done = subprocess.run(
            [bin_folder / command[0], *command[1:]],
            cwd=tmp_path, env=environment | {"SLIMRANK_HOME": str(tmp_path / "home")}, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    install = ("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, "--require-hashes", "-r", str(ROOT / "requirements" / "serve.txt"))
    run(*install, "--no-index", f"{wheel}[serve]")  # the lock has all requirements of the extra

    ranked = run("slimrank", "rank", "--query", "cutlery", "--model", str(tiny_model), "-", stdin="a spoon\na fork\n")
    assert {json.loads(line)["index"] for line in ranked.splitlines() if line.startswith("{")} == {0, 1}
    findings = json.loads(run("slimrank", "doctor", "--json", "--model", str(tiny_model)))
    assert [found for found in findings if found["state"] == "fault"] == []
    assert run("python", "-c", "import importlib.util as u; print(u.find_spec('torch'))").strip() == "None"
