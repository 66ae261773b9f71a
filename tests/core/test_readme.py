"""The README tells the truth: its tree is the tree, its targets exist. Links and commands: tests/docs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", re.findall(r"^\S* ?\S* +([a-z_/]+/) ", README, re.MULTILINE))
def test_a_folder_of_the_tree_is_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_every_package_stands_in_the_tree() -> None:
    tree = README.split("```text")[1].split("```")[0]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert all(f"{package}/" in tree for package in packages)


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
