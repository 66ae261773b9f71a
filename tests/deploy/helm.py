"""Find helm, or build it if Go is there.

    python -m tests.deploy.helm      builds the pinned release into .cache/tools, unless it is there

The build needs only the Go module proxy, since helm is a Go module.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".cache" / "tools"
RELEASE = "v3.19.0"
# A helm built by `go install` does not know for which Kubernetes it was released, and says 1.20.
KUBERNETES = "1.31.0"


def find() -> str | None:
    """Return the path of helm, or None."""
    return shutil.which("helm") or shutil.which("helm", path=TOOLS)


def build() -> None:
    """Build helm if it is missing and Go is there; this takes minutes on a small machine."""
    go = shutil.which("go")
    if find() or go is None:
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    command = [go, "install", f"helm.sh/helm/v3/cmd/helm@{RELEASE}"]
    if subprocess.run(command, env=os.environ | {"GOBIN": str(TOOLS)}, check=False).returncode != 0:
        print(f"helm {RELEASE} could not be built by {go}; the chart's tests need a helm on the PATH", file=sys.stderr)


if __name__ == "__main__":
    build()
