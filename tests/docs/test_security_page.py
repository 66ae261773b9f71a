"""A test checks every promise of SECURITY.md."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
HELD = dict(re.findall(r"^\| ([A-Z][^|]*) \| (`tests/[^|]*::[^|]*) \|$", PAGE, re.MULTILINE))
PROMISES = [title.strip(".") for title in re.findall(r"^\* \*\*(.+?)\*\*", PAGE, re.MULTILINE)]


def _tests_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_names_the_tests_that_check_it(promise: str) -> None:
    assert re.findall(r"`(tests/\S+?)::(test_\w+)`", HELD.get(promise, "")), f"no row for {promise!r}"


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(r"`(tests/\S+?)::(\w+)`", PAGE))))
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert name in _tests_of(ROOT / file)


def test_every_row_belongs_to_a_promise() -> None:
    assert len(PROMISES) >= 10
    assert set(HELD) == {*PROMISES, "Redis"}


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_every_file_that_the_page_names_exists(file: str) -> None:
    assert (ROOT / file).is_file()
