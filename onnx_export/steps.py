"""Show the progress of a command that takes minutes: each step when it begins, and how much of a long step is done."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

LOOK_SECONDS = 0.5


class Report(Protocol):
    """Called when a step begins, and again whenever more of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0, /) -> None:
        """Show the step; ``of`` is the whole amount of its work, 0 = unknown."""


def ticks(report: Report, step: str, of: int) -> Callable[[], None]:
    """Begin a step of ``of`` parts; return a function to call, from any thread, after each part."""
    report(step, 0, of)
    done = itertools.count(1)
    return lambda: report(step, next(done), of)


@contextmanager
def watching(folder: Path, report: Report, step: str, size: int) -> Iterator[None]:
    """Report in MB how much of a download of ``size`` bytes is in ``folder`` by now."""
    report(step, 0, size // 10**6)
    ended = Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            report(step, _bytes_in(folder) // 10**6, size // 10**6)

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def shown_steps() -> Iterator[Report]:
    """Print a line for each step with the time at which it began; on a terminal, also a bar for the step that runs."""
    console = Console(stderr=True, highlight=False)
    began, current = time.monotonic(), ""
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(step: str, done: int = 0, of: int = 0, /) -> None:
            nonlocal current
            if step != current:
                current = step
                console.print(f"{time.monotonic() - began:6.1f} s  {step}", markup=False, soft_wrap=True)
                bar.reset(task, description=step, total=of or None)
            bar.update(task, completed=done, total=of or None)

        yield report


def _bytes_in(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size if path.is_file() else 0
        except OSError:  # the file was moved meanwhile
            continue
    return sizes
