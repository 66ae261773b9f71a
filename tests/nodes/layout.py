"""Make a folder under the cache once, however many test runs want it at the same time."""

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def laid_out(home: Path, lay_out: Callable[[Path], None]) -> Path:
    """Return `home`, made by `lay_out` in a folder beside it if it is not there; a failure leaves nothing behind."""
    kind = home.name.rpartition("-")[0]
    with _locked(home.parent / f"{kind}.lock"):
        if not home.exists():
            stage = home.with_name(f"{kind}.stage")
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            lay_out(stage)
            shutil.rmtree(stage / "build", ignore_errors=True)
            stage.rename(home)
    return home
