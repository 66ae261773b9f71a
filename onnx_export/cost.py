"""How long making a shipped model takes on this machine, and how much disk: told, and checked, before it begins."""

import os
import shutil
from pathlib import Path

from slimrank import processor
from slimrank.errors import ConfigError

ONE_CORE_SECONDS, ALL_CORES_SECONDS = 20, 125
"""Processor seconds of what one core does (imports, conversion, writing) and of what all share (docs/log/first-hour.md)."""
BASE_BYTES, MODEL_BYTES = 750 * 10**6, 700 * 10**6
"""With the download beside it; and with the merged checkpoint that the model is verified with."""
BUSY_SHARE = 0.75
"""Of the cores: a lower load is what we, or a command before, have made of it."""


def describe_cost(name: str, home: Path, *, has_base: bool) -> str:
    """Return one sentence: seconds on so many cores under this load, and bytes of disk.

    Raises:
        ConfigError: the disk has less.
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
    """Return the expected time: work that waits for others gets its share of the cores."""
    crowd = max(1.0, (load + cores) / cores) if load > BUSY_SHARE * cores else 1.0
    return (ONE_CORE_SECONDS + ALL_CORES_SECONDS / cores) * crowd


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
