"""Hooks for a run in several processes (`pytest -n 2 --dist loadgroup`), and the count of what a run leaves out.

Tests share a process where they share something dear: those of one file its fixtures, those of one search engine its
node, which so starts once, and its index names. `tests/conftest.py` offers these hooks to pytest.
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

# Dear fixture to the process that runs all of its tests; the first that a test asks for decides. Elasticsearch 7.17 is
# beside OpenSearch since an audit compares the two.
_ENGINES = {"opensearch": "opensearch", "elasticsearch_7": "opensearch", "elasticsearch_8": "elasticsearch"}
_PROCESS_OF = _ENGINES | {"built": "the demo's corpus"}
_LEFT_OUT = pytest.StashKey[Counter[str]]()


def _process_of(item: pytest.Item) -> str:
    """Name the tests that this one must share a process with."""
    parameters = getattr(item, "callspec", None)
    values = parameters.params.values() if parameters else ()
    asked = {*getattr(item, "fixturenames", ()), *(value for value in values if isinstance(value, str))}
    return next((process for name, process in _PROCESS_OF.items() if name in asked), item.nodeid.partition("::")[0])


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark which tests share a process, and begin with the longest, so that no process ends long before the others."""
    if config.getoption("dist", "no") != "loadgroup":
        return
    processes = [_process_of(item) for item in items]
    slow = {process for item, process in zip(items, processes, strict=True) if item.get_closest_marker("slow")}
    for item, process in zip(items, processes, strict=True):
        item.add_marker(pytest.mark.xdist_group(process))
    order = {process: (process not in _ENGINES.values(), process not in slow) for process in processes}
    items[:] = [item for _, item in sorted(zip(processes, items, strict=True), key=lambda pair: order[pair[0]])]


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count; one of several processes keeps to one thread for its arithmetic, as the others want theirs."""
    config.stash[_LEFT_OUT] = Counter()
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the tests that `-m` or `-k` leaves out, by the marker that may be the reason."""
    for item in items:
        names = {mark.name for mark in item.iter_markers()} & {"gpu"}
        item.config.stash[_LEFT_OUT][min(names, default="not chosen")] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's counts to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left out"] = dict(session.config.stash[_LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take a worker's counts; all of them collected, and left out, the same."""
    node.config.stash[_LEFT_OUT] |= Counter(getattr(node, "workeroutput", {}).get("left out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests did not run, and why."""
    reasons = dict(line.split(": ", 1) for line in config.getini("markers") if ": " in line)
    for name, count in sorted(config.stash[_LEFT_OUT].items()):
        terminalreporter.write_line(f"left out: {count} {name}" + (f" ({reasons[name]})" if name in reasons else ""))
