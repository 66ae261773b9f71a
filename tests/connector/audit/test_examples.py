"""The workflow that gates a pull request calls commands and options that exist, and its shell does what it says."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from connector.audit.cli import app

WORKFLOW = Path(__file__).parents[3] / "docs" / "examples" / "audit-gate.yml"


def audit_step() -> str:
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["audit"]["steps"]
    return str(next(step["run"] for step in steps if step.get("id") == "audit"))


def test_every_command_and_option_of_the_workflow_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    used = re.findall(r"slimrank audit (\w+)([^|\n]*)", audit_step())
    assert used
    for name, rest in used:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options


@pytest.mark.parametrize(("verdict", "outcome"), [(0, 0), (1, 0), (2, 2)])
def test_a_failure_stops_the_merge_and_a_warning_is_shown(verdict: int, outcome: int, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the workflow's shell, bash, is not installed")
    stand_in = tmp_path / "slimrank"
    stand_in.write_text(f"#!{bash}\nexit {verdict}\n")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        [bash, "-e", "-c", audit_step()], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == outcome
    assert ("::warning::" in done.stdout) == (verdict == 1)
