"""The version is stated in ``slimrank.__version__``; all places that repeat it agree."""

import re
import subprocess

import pytest

from slimrank import __version__
from tests.deploy.helm import ROOT

REPEATED = re.compile(
    r"slimrank(?:-[a-z]+)*[:-](\d+\.\d+\.\d+)"  # a wheel or an image
    r"|SLIMRANK_TAG:-(\d+\.\d+\.\d+)"
    r"|tag is the version, `(\d+\.\d+\.\d+)`"
    r"|^(?:version|appVersion): \"?(\d+\.\d+\.\d+)",  # of a chart
    re.MULTILINE,
)
PLACES = ("docker-compose.yml", "deploy/compose/gpu.yml", "deploy/helm/slimrank/Chart.yaml", "docs/guides/install.md")


def versions_in(text: str) -> list[str]:
    return [next(filter(None, found)) for found in REPEATED.findall(text)]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_repeats_the_version_agrees(place: str) -> None:
    named = versions_in((ROOT / place).read_text(encoding="utf-8"))
    assert named and set(named) == {__version__}


def test_no_other_file_repeats_it() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {name for name in tracked if name.endswith((".py", ".md", ".toml", ".yml", ".yaml", ".sh", "Dockerfile", "Makefile"))}
    holding = {name for name in texts if (ROOT / name).is_file() and versions_in((ROOT / name).read_text(encoding="utf-8"))}
    assert holding == set(PLACES)


def test_the_project_reads_its_version_from_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project and 'version = {attr = "slimrank.__version__"}' in project
