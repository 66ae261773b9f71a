"""Estimate how long it takes to make a shipped model on this machine, and check the free disk, before the work begins."""

import os
import shutil
from pathlib import Path

from slimrank import processor
from slimrank.errors import ConfigError

ONE_CORE_SECONDS, ALL_CORES_SECONDS = 20, 125
"""Processor seconds of the work that runs on one core (imports, conversion, writing), and of the work that all cores share
(docs/log/first-hour.md)."""
BASE_BYTES, MODEL_BYTES = 750 * 10**6, 700 * 10**6
"""Disk for the base model with its download, and for the model with the merged checkpoint that verifies it."""
BUSY_SHARE = 0.75
"""Share of the cores. A load below it may come from this command, or from the one before it, and is not counted."""


def describe_cost(name: str, home: Path, *, has_base: bool) -> str:
    """Return one sentence with the expected time on this machine and the disk that is needed.

    Raises:
        ConfigError: the disk has less free space than that.
    """
    needed = MODEL_BYTES + (0 if has_base else BASE_BYTES)
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    if free < needed:
        raise ConfigError(
            f"making the model {name} needs {needed / 1e9:.1f} GB of disk in {home}, and {free / 1e9:.1f} GB are free;"
            " free some, or name a folder on another disk with SLIMRANK_HOME"
        )
    cores = processor.cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    of_them = "core" if cores == 1 else "cores"
    return (
        f"making the model {name} takes about {_in_words(_seconds(cores, load))} on this machine ({cores:g} {of_them}, load {load:.1f}),"
        f" and {needed / 1e9:.1f} GB of disk in {home}"
    )


def _seconds(cores: float, load: float) -> float:
    """Return the expected time; on a busy machine this command gets only its share of the cores."""
    crowd = max(1.0, (load + cores) / cores) if load > BUSY_SHARE * cores else 1.0
    return (ONE_CORE_SECONDS + ALL_CORES_SECONDS / cores) * crowd


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
