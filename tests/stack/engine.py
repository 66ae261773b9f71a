"""Lay out the tests' OpenSearch and a Java for it as a build context.

    python -m tests.stack.engine FOLDER      makes FOLDER/engine and FOLDER/java

Called by deploy/compose/offline/bases.sh. The Java must have every locale's data: OpenSearch's analyzers ask for Thai.
"""

import shutil
import sys
from pathlib import Path

from tests.nodes import java, opensearch
from tests.nodes.engine import CACHE

NOT_RUN = shutil.ignore_patterns("jmods", "src.zip", "include", "man", "legal", "demo")


def lay_out(folder: Path) -> None:
    """Copy both into `folder`, which is made."""
    home = java.find_java(opensearch.MINIMUM_JAVA)
    if home is None:
        sys.exit(f"no Java {opensearch.MINIMUM_JAVA} or newer was found; install one, or set JAVA_HOME")
    shutil.copytree(opensearch.home_folder(CACHE), folder / "engine")
    shutil.copytree(home, folder / "java", ignore=NOT_RUN)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
