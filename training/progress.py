"""The logs of a run: JSON lines, TensorBoard and a progress bar.

``log.jsonl`` gets one JSON object for each step, ``dev.jsonl`` one for each evaluation on dev. A resumed run first drops the
lines after its checkpoint, so that no step is there twice.
"""

import json
import math
import sys
from collections import deque
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SMOOTHED_STEPS = 50
TENSORBOARD_EVERY = 10


class RunLog:
    """Writes every step's values; use as a context manager.

    Args:
        folder: The folder for the logs.
        steps: The number of steps of the whole run.
        first_step: The number of steps that are already done, from the checkpoint.
    """

    def __init__(self, folder: Path, *, steps: int, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._dev_path = folder / "log.jsonl", folder / "dev.jsonl"
        _keep_until(self._path, first_step)
        _keep_until(self._dev_path, first_step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
        self._recent: dict[str, deque[float]] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("training", total=steps, completed=first_step)

    def write(self, step: int, values: dict[str, float | str | None]) -> None:
        """Record the values of one step; None = does not apply."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, int | float):
                self._recent.setdefault(name, deque(maxlen=SMOOTHED_STEPS)).append(float(value))
        if step % TENSORBOARD_EVERY == 0:
            for name, recent in self._recent.items():
                self._board.add_scalar(name, math.fsum(recent) / len(recent), step)
        loss = self._recent.get("loss")
        self._progress.update(
            self._task, completed=step, description=f"loss {math.fsum(loss) / len(loss):.3f}" if loss else "training"
        )

    def look(self, step: int, values: dict[str, float]) -> None:
        """Record an evaluation on dev, in ``dev.jsonl`` and without smoothing in TensorBoard."""
        with self._dev_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"dev/{name}", value, step)

    def __enter__(self) -> "RunLog":
        """Start the progress bar."""
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the progress bar and TensorBoard."""
        self._progress.stop()
        self._board.close()


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(
        "".join(line for line in lines if step and line.endswith("\n") and json.loads(line)["step"] <= step), encoding="utf-8"
    )
