"""KEDA's own schemas, taken from its Go module if Go is there.

    python -m tests.deploy.keda      fetches the pinned release unless it is there

The module contains the definitions that a cluster installs, so that the chart is checked as in a cluster.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.helm import TOOLS

RELEASE = "v2.17.2"
DEFINITIONS = TOOLS / f"keda-{RELEASE}"


def fetch() -> None:
    """Copy the definitions from the module; without Go, do nothing."""
    go = shutil.which("go")
    if DEFINITIONS.is_dir() or go is None:
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    # Run outside this checkout: a download needs no module of ours.
    command = [go, "mod", "download", "-json", f"github.com/kedacore/keda/v2@{RELEASE}"]
    done = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"KEDA {RELEASE} could not be had by {go}: {done.stdout}{done.stderr}", file=sys.stderr)
        return
    partial = DEFINITIONS.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases", partial, copy_function=shutil.copyfile)
    partial.chmod(0o755)
    partial.rename(DEFINITIONS)


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a kind of keda.sh/v1alpha1; it refuses unknown properties, as ``kubectl --validate=strict`` does.

    Raises:
        FileNotFoundError: the definitions were not fetched.
    """
    definition = yaml.safe_load((DEFINITIONS / f"keda.sh_{kind.lower()}s.yaml").read_text())
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1alpha1"]
    return _closed(version["schema"]["openAPIV3Schema"])


def _closed(schema: Any) -> Any:
    """Return a schema that refuses properties which it does not name; only Kubernetes' own metadata stays open."""
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: _closed(part) if name != "properties" else {key: _closed(each) for key, each in part.items()}
        for name, part in schema.items()
    }
    if "properties" in schema and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


if __name__ == "__main__":
    fetch()
